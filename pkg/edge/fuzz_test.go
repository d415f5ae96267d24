package edge

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzQuery queries flags in all forms of the request: no query causes an error of the
// edge, and all forms get the same answer.
func FuzzQuery(f *testing.F) {
	e := serving(f, &source{subjects: 1000}, nil)
	etag := ask(e, "subject_id=7", "").Header().Get("ETag")
	for _, query := range []string{
		"subject_id=7", "subject_id=", "", "subject_id", "subject_id=%37", "subject_id=7+", "subject_id=+7", "subject_id=%2", "subject_id=%zz", "subject_id=7%00",
		"subject_id=7&subject_id=8", "subject_id=7;a=b", "subject_id=7&features=feature-number-01,feature-number-02", "subject_id=7&features=", "subject_id=7&features=%ff",
		"subject_id=999999", "Subject_Id=7", "subject_id=7&wait=1s", "subject_id=7&wait=x", "subject_id=\xff", "subject_id=" + strings.Repeat("x", 257), "&subject_id=7", "a=b&subject_id=7",
	} {
		for _, ifNoneMatch := range []string{"", "*", etag, `"other", W/` + etag, `"other"`, ","} {
			f.Add(query, ifNoneMatch)
		}
	}
	f.Fuzz(func(t *testing.T, query, ifNoneMatch string) {
		values, _ := url.ParseQuery(query)
		if values.Has("min_revision") {
			return // it waits, and gets 503 by contract
		}
		compareForms(t, e, query, strings.TrimSpace(ifNoneMatch))
	})
}

// FuzzBatch sends anything as the body of a request for many subjects.
func FuzzBatch(f *testing.F) {
	e := serving(f, &source{subjects: 1000}, nil)
	for _, body := range []string{
		`{"subject_ids":["1","2","x"]}`, `{"subject_ids":[]}`, `{"subject_ids":null}`, `{}`, `null`, `[]`, ``, `{`, `{"subject_ids":[1]}`, `{"subject_ids":["1"],"a":1}`,
		`{"subject_ids":["\u0000"]}`, `{"subject_ids":["\ud800"]}`, `{"subject_ids":["1","1"]} x`, `{"Subject_ids":["1"]}`, "\xef\xbb\xbf{}", strings.Repeat("[", 1000),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/subjects/flags", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q: status %d: %s", body, w.Code, w.Body)
		}
	})
}
