package model_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

func TestCheckJSON(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for _, text := range []string{
		`null`, ` 1 `, `{"a": {"x": 1}, "b": {"x": 2}}`, `"\ud83d\ude00"`, `{"a": [1e308, -1e-400]}`, nested(model.MaxJSONDepth), "\t[]\r\n",
	} {
		if err := model.CheckJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, row := range []struct {
		text, says string
		is         error
	}{
		{``, "must not be empty", nil},
		{" \n", "must not be empty", nil},
		{`{"id": "a", "id": "b"}`, `two members "id"`, nil},
		{`[{"a": {"x": 1, "x": 1}}]`, `two members "x"`, nil},
		{`{"a": 1, "\u0061": 2}`, `two members "a"`, nil},
		{`{"` + strings.Repeat("a", 500) + `": 1, "` + strings.Repeat("a", 500) + `": 2}`, "two members", nil},
		{`{"id": "s\ud800"}`, "surrogate", nil},
		{`"\udc00\ud800"`, "surrogate", nil},
		{"\"\xff\"", "UTF-8", nil},
		{"\xef\xbb\xbf1", "invalid character", nil},
		{`{"a" 1}`, "in /a at byte 5", nil},
		{`{"a": 01}`, "must be valid JSON", nil},
		{`[1, 1e400`, "must be valid JSON", nil},
		{`[1e400]`, "", model.ErrJSONNumber},
		{`{"a": -1e999999999}`, "", model.ErrJSONNumber},
		{`1 2`, "", model.ErrJSONTrailing},
		{`{} x`, "", model.ErrJSONTrailing},
		{nested(model.MaxJSONDepth + 1), "", model.ErrJSONDepth},
		{nested(9995), "", model.ErrJSONDepth},
		{strings.Repeat(`{"a":`, 100_000), "", model.ErrJSONDepth},
	} {
		err := model.CheckJSON([]byte(row.text))
		if err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.says) || len(err.Error()) > 300 {
			t.Errorf("%.60s: %v", row.text, err)
		}
	}
}

func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage("{ \"a\":\t1.0, \"<\": \"\\u00e9\"\n}")
	for _, row := range []struct {
		value any
		want  string
	}{
		{map[string]any{"z": raw, "a": []any{raw, nil, "<&>"}}, `{"a":[` + string(raw) + `,null,"<&>"],"z":` + string(raw) + `}`},
		{struct {
			None json.RawMessage
			Left json.RawMessage `json:",omitempty"`
			Zero int             `json:",omitempty"`
			List []int
			Raw  *json.RawMessage
		}{Raw: &raw}, `{"None":null,"List":null,"Raw":` + string(raw) + `}`},
		{raw, string(raw)},
		{nil, `null`},
	} {
		if got, err := model.EncodeJSON(row.value); err != nil || string(got) != row.want {
			t.Errorf("%s, %v, want %s", got, err, row.want)
		}
	}
	for _, bad := range []any{json.RawMessage(`{"a":}`), json.RawMessage{}, func() {}} {
		if got, err := model.EncodeJSON([]any{bad}); err == nil {
			t.Errorf("%T %v is encoded as %s", bad, bad, got)
		}
	}
}
