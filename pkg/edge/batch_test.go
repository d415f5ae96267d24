package edge

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func postBatch(e *service, w http.ResponseWriter, body string) {
	r := httptest.NewRequest("POST", "/v1/subjects/flags", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	e.ServeHTTP(w, r)
}

// A batch in the plain form is read by other code than the rest, with the same answer.
func TestFormsOfABatchAgree(t *testing.T) {
	t.Parallel()
	e := serving(t, &source{subjects: 1000}, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var plain, escaped []string
		for range 1 + r.IntN(300) {
			id := strconv.Itoa(r.IntN(2000)) // half of them unknown, and some repeated
			plain, escaped = append(plain, `"`+id+`"`), append(escaped, fmt.Sprintf(`"\u%04x%s"`, id[0], id[1:]))
		}
		one, other := httptest.NewRecorder(), httptest.NewRecorder()
		postBatch(e, one, ` { "subject_ids" : [`+strings.Join(plain, " ,\n")+"] }\n")
		postBatch(e, other, `{"subject_ids":[`+strings.Join(escaped, ",")+`]}`)
		if one.Code != http.StatusOK || one.Body.String() != other.Body.String() {
			t.Fatalf("the plain form answers %d %.200s\nanother %d %.200s", one.Code, one.Body, other.Code, other.Body)
		}
	}
}

func TestPlainFormOfABatch(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`{"subject_ids":["1"]}`:                                       1,
		"\t{ \"subject_ids\"\r\n: [ \"1\" , \"b c\"  ] } ":            2,
		`{"subject_ids":["1","b c"] } `:                               2,
		`{"subject_ids":[]}`:                                          0,
		`{"subject_ids":[""]}`:                                        0,
		`{"subject_ids":["1",]}`:                                      0,
		`{"subject_ids":["1"]`:                                        0,
		`{"subject_ids":["1"]} x`:                                     0,
		`{"subject_ids":["1"],"x":1}`:                                 0,
		`{"subject_ids":["\u0031"]}`:                                  0,
		`{"subject_ids":["ü"]}`:                                       0,
		`{"subject_ids":["1`:                                          0,
		`{"subject_ids":["` + strings.Repeat("x", 257) + `"]}`:        0,
		`{"subject_ids":["` + strings.Repeat(`x","`, 9_999) + `x"]}`:  10_000,
		`{"subject_ids":["` + strings.Repeat(`x","`, 10_000) + `x"]}`: 0,
		`{"subject_ids":["1"],"subject_ids":["2"]}`:                   0,
		`["1"]`: 0,
		``:      0,
	} {
		ids, plain := appendPlainIDs(nil, []byte(body))
		if plain != (want > 0) || plain && len(ids) != want {
			t.Errorf("%.60q: %v, %d ids", body, plain, len(ids))
		}
	}
}

// The memory that a batch takes does not depend on the length of its answer.
func TestLargeBatchTakesLittle(t *testing.T) {
	e := serving(t, &source{subjects: 10_000}, nil)
	var ids strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&ids, `,"%d"`, i)
	}
	body := `{"subject_ids":[` + ids.String()[1:] + `]}`
	postBatch(e, &discard{header: http.Header{}}, body) // this renders the bodies of the classes
	w := &discard{header: http.Header{}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	postBatch(e, w, body)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 || w.bytes < 5<<20 {
		t.Errorf("an answer of %d bytes took %d", w.bytes, took)
	}
}
