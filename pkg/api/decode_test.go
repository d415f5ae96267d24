package api

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// sent has a field of each type that requests have.
type sent struct {
	ID     string   `json:"id"`
	Weight *int64   `json:"weight"`
	Amount int      `json:"amount"`
	Share  *float64 `json:"share"`
	Flag   bool     `json:"flag"`
	Groups []struct {
		Variants map[string]string `json:"variants"`
	} `json:"groups"`
	At      time.Time `json:"at"`
	Payload any       `json:"payload"`
}

func TestDecode(t *testing.T) {
	weight := func(text string) int64 {
		t.Helper()
		var v sent
		if err := Decode([]byte(`{"weight": `+text+`}`), &v); err != nil || v.Weight == nil {
			t.Fatalf("%s: %v", text, err)
		}
		return *v.Weight
	}
	for text, want := range map[string]int64{
		"1": 1, "1.0": 1, "1e2": 100, "1.50E+1": 15, "-0.0": 0, "-0": 0, "9007199254740993": 1<<53 + 1, "9007199254740993.0": 1<<53 + 1,
		"9223372036854775807": math.MaxInt64, "92233720368547758070e-1": math.MaxInt64, "0e-99": 0,
	} {
		if got := weight(text); got != want {
			t.Errorf("%s is read as %d", text, got)
		}
	}
	var v sent
	const payload = `{"b": 1,  "a": [1.0, "<\u00e9>", 12345678901234567890]}`
	text := ByteOrderMark + ` {"id": "\ud83d\ude00", "ID": 7, "share": -0.0, "at": "2027-01-31T15:04:05.5+02:00", "payload": ` + payload + `, "amount": 2.0}`
	if err := Decode([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if raw, _ := v.Payload.(json.RawMessage); string(raw) != payload || v.ID != "😀" || v.Amount != 2 || v.At.UTC().Hour() != 13 || math.Signbit(*v.Share) {
		t.Errorf("read as %+v, payload %s", v, raw)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, says := range map[string]string{
		`{"weight": 1.5}`:                      "weight must be an integer, is 1.5",
		`{"weight": 1.00000000000000000001}`:   "weight must be an integer",
		`{"weight": 1e-400000000}`:             "weight must be an integer",
		`{"weight": 1e300}`:                    "weight must be an integer between",
		`{"weight": 9223372036854775808}`:      "weight must be an integer between",
		`{"weight": "1"}`:                      "weight must be an integer, is a string",
		`{"amount": true}`:                     "amount must be an integer, is true",
		`{"share": "1"}`:                       "share must be a number, is a string",
		`{"id": 7}`:                            "id must be a string, is a number",
		`{"flag": "yes"}`:                      "flag must be true or false, is a string",
		`{"groups": {}}`:                       "groups must be an array, is an object",
		`{"groups": [{"variants": {"f": 1}}]}`: "groups[0].variants.f must be a string, is a number",
		`[]`:                                   "must be an object, is an array",
		`{"at": "2027-01-31T15:04:05,5Z"}`:     "at must be a time such as",
		`{"at": "2027-01-31T15:04:05+24:00"}`:  "at must be a time such as",
		`{"at": "2027-01-31 15:04:05Z"}`:       `at must be a time such as 2027-01-31T15:04:05Z, is "2027-01-31 15:04:05Z"`,
		`{"at": "2027-02-30T15:04:05Z"}`:       "at must be a time such as",
		`{"at": 7}`:                            "at must be a time, is a number",
	} {
		err := Decode([]byte(text), new(sent))
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{"id": "a", "id": "b"}`, `{"id": "s\ud800"}`, ``, `{`, `{"payload": [1, {"x": 1, "x": 2}]}`} {
		var mismatch *MismatchError
		if err := Decode([]byte(text), new(sent)); err == nil || errors.As(err, &mismatch) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := Decode([]byte(`{"payload": [1e400]}`), new(sent)); !errors.Is(err, model.ErrJSONNumber) {
		t.Error(err)
	}
	if err := DecodeExact([]byte(`{"ID": "a"}`), new(sent)); err == nil || err.Error() != "ID is not known here" {
		t.Error(err)
	}
}

func TestDecodeExactRefusesNull(t *testing.T) {
	for text, says := range map[string]string{
		`null`:             "must be an object, is null",
		`{"id": null}`:     "id must be a string, is null",
		`{"weight": null}`: "weight must be an integer, is null",
		`{"groups": null}`: "groups must be an array, is null",
		`{"groups": [{"variants": {"f": null}}]}`: "groups[0].variants.f must be a string, is null",
		`{"at": null}`:   "at must be a time, is null",
		`{"flag": null}`: "flag must be true or false, is null",
	} {
		if err := DecodeExact([]byte(text), new(sent)); err == nil || err.Error() != says {
			t.Errorf("%s: %v", text, err)
		}
	}
	v := sent{Payload: 1}
	if err := DecodeExact([]byte(`{"payload": null}`), &v); err != nil || v.Payload != nil {
		t.Errorf("%v, %v", v.Payload, err)
	}
}

func TestParseInteger(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-0": 0, "7": 7, "1.0": 1, "1e2": 100, "-9223372036854775808": math.MinInt64} {
		if got, err := ParseInteger(text); err != nil || got != want {
			t.Errorf("%s is read as %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "+1", "01", "-01", " 1", "1 ", "\n1", "1.", ".5", "1.5", "0x1", "1_0", "1,0", "\u0661", "null", "9223372036854775808"} {
		if got, err := ParseInteger(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestDecodeAnswer(t *testing.T) {
	var v sent
	err := DecodeAnswer([]byte(`{"id": "a", "id": "b", "later": 1, "weight": null, "payload": {"x": 1,  "x": 1e999}}`), &v)
	if raw, _ := v.Payload.(json.RawMessage); err != nil || v.ID != "b" || v.Weight != nil || string(raw) != `{"x": 1,  "x": 1e999}` {
		t.Errorf("%+v, %s, %v", v, raw, err)
	}
}
