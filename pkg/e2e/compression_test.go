package e2e

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

// Each GET of the admin, and its documentation: compressed answers are the same as
// others, and their ETags are good for If-Match.
func TestCompression(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	all := s.operations(t, s.admin)
	long := `{"description": "` + strings.Repeat("long ", 300) + `"}`
	for _, path := range []string{"/v1/features/seeded", "/v1/abtests/seeded"} {
		if a := (&operation{documented: s.admin, method: "PATCH", path: path, media: api.MediaJSON, body: long}).do(t, nil); a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/openapi.json", "/docs"} {
		all = append(all, &operation{documented: s.admin, call: "GET " + path, method: "GET", path: path})
	}
	compressed, tagged := 0, 0
	for _, o := range all {
		if o.method != http.MethodGet {
			continue
		}
		variants := []string{"*/*"}
		if o.streams() {
			variants = append(variants, api.MediaNDJSON)
		}
		for _, accept := range variants {
			ask := func(encoding string) answer {
				return o.do(t, func(r *http.Request) { r.Header.Set("Accept", accept); r.Header.Set("Accept-Encoding", encoding) })
			}
			plain, packed := ask("identity"), ask("gzip")
			encoding, tag := packed.header.Get("Content-Encoding"), plain.header.Get("ETag")
			if want := len(plain.body) >= 1<<10; (encoding == "gzip") != want || plain.header.Get("Content-Encoding") != "" {
				t.Errorf("%s: %d bytes are answered with Content-Encoding %q", o.call, len(plain.body), encoding)
				continue
			}
			if encoding == "gzip" {
				compressed++
				packed.body = gunzipped(t, packed.body)
				if unquoted, ok := strings.CutSuffix(tag, `"`); ok {
					tag = unquoted + `-gzip"`
				}
			}
			if packed.status != plain.status || stable(packed.body) != stable(plain.body) || packed.header.Get("ETag") != tag || !strings.Contains(packed.header.Get("Vary"), "Accept-Encoding") {
				t.Errorf("%s: %d %v %s, without compression: %d %v %s", o.call, packed.status, packed.header, packed.body, plain.status, plain.header, plain.body)
			}
			if tag != "" && accept == variants[0] {
				tagged++
				tryIfMatch(t, all, o, tag)
			}
		}
	}
	if compressed < 5 || tagged < 5 {
		t.Errorf("%d answers were compressed, and %d had an ETag", compressed, tagged)
	}
}

// tryIfMatch makes a write to what a GET has answered.
func tryIfMatch(t *testing.T, all []*operation, get *operation, tag string) {
	t.Helper()
	_, path, _ := strings.Cut(get.call, " ")
	for _, o := range all {
		if _, other, _ := strings.Cut(o.call, " "); other != path || !o.declares("header", "If-Match") {
			continue
		}
		write := *o
		write.path = get.path
		if a := write.do(t, setHeader("If-Match", tag)); a.status == http.StatusPreconditionFailed {
			t.Errorf("%s with If-Match: %s: %d %s", o.call, tag, a.status, a.body)
		}
		write.do(t, setHeader("If-Match", "W/"+tag)).is(t, o.call, http.StatusPreconditionFailed, api.PreconditionFailed, "")
	}
}

func gunzipped(t *testing.T, body string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var moment = regexp.MustCompile(`"last_seen":"[^"]*"`)

// stable leaves out what differs from one answer to the next.
func stable(body string) string { return moment.ReplaceAllString(body, "") }
