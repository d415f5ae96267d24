package edge

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
)

// Every call in the table has a route, and every code of it is reached.
func TestCalls(t *testing.T) {
	ready := serving(t, &source{subjects: 1}, nil)
	unready := newService(Config{Unknown: "reject", Poll: time.Hour, Logger: slog.New(slog.DiscardHandler)}, &source{})
	reached := map[string][]model.Code{}
	for _, c := range []struct {
		e         *service
		row, path string
		body      string
		status    int
		code      model.Code
	}{
		{ready, "GET /v1/subject/flags", "/v1/subject/flags?subject_id=none", "", 404, model.SubjectNotFound},
		{ready, "GET /v1/subject/flags", "/v1/subject/flags?subject_id=none&min_revision=999999&wait=0s", "", 503, model.NotReady},
		{unready, "GET /v1/subject/flags", "/v1/subject/flags?subject_id=none", "", 503, model.NotReady},
		{ready, "GET /v1/subjects/{id}/flags", "/v1/subjects/none/flags", "", 404, model.SubjectNotFound},
		{unready, "GET /v1/subjects/{id}/flags", "/v1/subjects/none/flags", "", 503, model.NotReady},
		{unready, "POST /v1/subjects/flags", "/v1/subjects/flags", `{"subject_ids": ["none"]}`, 503, model.NotReady},
		{ready, "POST /v1/subjects/flags", "/v1/subjects/flags", strings.Repeat(" ", web.MaxBody), 413, model.BodyTooLarge},
		{ready, "POST /ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags", strings.Repeat(" ", web.MaxBody+1), 413, model.BodyTooLarge},
		{ready, "POST /ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags/foobar", strings.Repeat(" ", web.MaxBody+1), 413, model.BodyTooLarge},
		{ready, "POST /ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags", "{}", 415, model.UnsupportedMediaType},
		{ready, "POST /ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags/foobar", "{}", 415, model.UnsupportedMediaType},
	} {
		method, _, _ := strings.Cut(c.row, " ")
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, c.path, strings.NewReader(c.body))
		if c.code == model.UnsupportedMediaType {
			r.Header.Set("Content-Type", "text/plain")
		}
		c.e.web.ServeHTTP(w, r)
		if got := (answer{w.Code, w.Header(), w.Body.String()}); got.status != c.status || got.code(t) != string(c.code) {
			t.Errorf("%s %s: %d %s, want %d %s", method, c.path, got.status, got.body, c.status, c.code)
		}
		reached[c.row] = append(reached[c.row], c.code)
	}
	paths := ready.web.API.OpenAPI().Paths
	for call, codes := range api.EdgeCalls {
		method, path, _ := strings.Cut(call, " ")
		if item := paths[path]; item == nil || method == http.MethodGet && item.Get == nil || method == http.MethodPost && item.Post == nil {
			t.Errorf("%s has no route", call)
		}
		for _, code := range codes {
			if !slices.Contains(reached[call], code) {
				t.Errorf("%s: %s was not reached", call, code)
			}
		}
	}
}

func TestReferencesOfDocument(t *testing.T) {
	document := newService(Config{Unknown: "reject", Logger: slog.New(slog.DiscardHandler)}, &source{}).web.API.OpenAPI()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		name, found := strings.CutPrefix(ref[1], "#/components/schemas/")
		if !found || document.Components.Schemas.Map()[name] == nil {
			t.Errorf("no schema for %s", ref[1])
		}
	}
}
