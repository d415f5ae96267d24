package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

func TestHeadersHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		for name, value := range map[string]string{
			"Authorization": "Bearer " + o.token, "Content-Type": api.MediaJSON, "Last-Event-Id": "1",
		} {
			o.do(t, setHeader(name, value, value)).is(t, "two "+name, 422, api.ValidationFailed, "header."+name)
		}
		if !o.declares("header", "If-Match") {
			return
		}
		for _, tags := range [][]string{{""}, {" "}, {","}, {"", ""}} {
			o.do(t, setHeader("If-Match", tags...)).is(t, fmt.Sprintf("If-Match %q", tags), 422, api.ValidationFailed, "header.If-Match")
		}
		o.do(t, setHeader("If-Match", `"998"`, `"999"`)).is(t, "two If-Match", 412, api.PreconditionFailed, "")
		o.do(t, setHeader("If-Match", `"998"`, `999`)).is(t, "a second If-Match that is no ETag", 422, api.ValidationFailed, "header.If-Match")
	})
}

// HEAD of each GET, and of each page. It describes the answer without compression.
func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	for name, d := range map[string]*documented{"admin": s.admin, "edge": s.edge} {
		all := s.operations(t, d)
		for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/none"} {
			all = append(all, &operation{documented: d, call: "GET " + path, method: "GET", path: path})
		}
		for _, o := range all {
			if o.method != http.MethodGet {
				continue
			}
			t.Run(name+" "+o.call, func(t *testing.T) {
				variants := []func(*http.Request){nil, addQuery("limit=0")}
				if o.streams() {
					variants = append(variants, setHeader("Accept", api.MediaNDJSON))
				}
				for _, change := range variants {
					get := o.do(t, func(r *http.Request) {
						r.Header.Set("Accept-Encoding", "identity")
						if change != nil {
							change(r)
						}
					})
					head := o.do(t, func(r *http.Request) {
						r.Method = http.MethodHead
						if change != nil {
							change(r)
						}
					})
					differ := []string{"Date", "X-Request-Id"}
					if get.header.Get("Content-Type") == api.MediaNDJSON || strings.Contains(get.body, `"last_seen"`) {
						differ = append(differ, "Content-Length") // unknown in advance, or a timestamp has fewer digits
					}
					for _, name := range differ {
						get.header.Del(name)
						head.header.Del(name)
					}
					if head.status != get.status || head.body != "" || !maps.EqualFunc(head.header, get.header, slices.Equal) {
						t.Errorf("HEAD: %d %v %s, GET: %d %v", head.status, head.header, head.body, get.status, get.header)
					}
				}
			})
		}
	}
}

// The media type of an answer is the one that Accept prefers.
func TestAcceptHasOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		standard := o.do(t, nil).header.Get("Content-Type")
		for accept, want := range map[string]string{
			"*/*": standard, "text/html": standard, "json": standard, "application/problem+json": standard, "application/x-ndjson;q=0": standard, ",;": standard,
			"APPLICATION/X-NDJSON": api.MediaNDJSON, "application/json;q=0.5, application/x-ndjson": api.MediaNDJSON, "application/json;Q=0, application/*": api.MediaNDJSON,
		} {
			if want == api.MediaNDJSON && !o.exports() {
				want = standard
			}
			if a := o.do(t, setHeader("Accept", accept)); a.status >= 300 || a.header.Get("Content-Type") != want {
				t.Errorf("Accept: %s is answered %d %s, want %s", accept, a.status, a.header.Get("Content-Type"), want)
			}
		}
		if a := o.do(t, setHeader("Accept", "application/json;q=0", "application/x-ndjson")); o.exports() && a.header.Get("Content-Type") != api.MediaNDJSON {
			t.Errorf("two lines of Accept are answered %d %s", a.status, a.header.Get("Content-Type"))
		}
		if o.streams() && o.declares("query", "after") {
			for _, name := range []string{"limit", "after"} {
				a := o.do(t, func(r *http.Request) { setHeader("Accept", api.MediaNDJSON)(r); setQuery(name, name+"=1")(r) })
				a.is(t, name+" of an export", 422, api.ValidationFailed, "query."+name)
			}
		}
	})
}
