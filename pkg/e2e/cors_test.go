package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/edge"
)

const page = "https://shop.example"

func sharing(c *edge.Config) { _ = c.Origins.Set(page) }

func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	guarded := *s.edge
	guarded.url = must[string](t)(s.StartEdge("guarded", "reject", sharing, func(c *edge.Config) { c.Auth = edge.AuthToken }))
	guarded.token = s.clientToken
	for name, d := range map[string]*documented{"open": s.edge, "with tokens": &guarded} {
		for _, o := range s.operations(t, d) {
			t.Run(name+" "+o.call, func(t *testing.T) {
				shared := func(what, origin, want string, a answer) {
					t.Helper()
					_, credentials := a.header["Access-Control-Allow-Credentials"]
					if got := a.header.Get("Access-Control-Allow-Origin"); got != want || a.header.Get("Vary") != "Origin" || credentials {
						t.Errorf("%s from %q: %d %v", what, origin, a.status, a.header)
					}
				}
				for origin, want := range map[string]string{"": "", page: page, "https://shop.example.net": "", "null": ""} {
					ask := func(what string, status int, change func(r *http.Request)) {
						t.Helper()
						a := o.do(t, func(r *http.Request) {
							if origin != "" {
								r.Header.Set("Origin", origin)
							}
							change(r)
						})
						a.is(t, what, status, "", "")
						shared(what, origin, want, a)
					}
					ask("a success", 200, func(*http.Request) {})
					for _, status := range []int{404, 405, 422} {
						a := o.do(t, func(r *http.Request) {
							if origin != "" {
								r.Header.Set("Origin", origin)
							}
							switch status {
							case 404:
								r.URL.Path = "/none"
							case 405:
								r.Method = "PROPFIND"
							case 422:
								setHeader("Content-Type", api.MediaJSON, api.MediaJSON)(r)
							}
						})
						if a.status != status {
							t.Errorf("%d instead of %d: %s", a.status, status, a.body)
						}
						shared("an error", origin, want, a)
					}
				}
				a := o.do(t, func(r *http.Request) {
					r.Method = http.MethodOptions
					r.Header = http.Header{"Origin": {page}, "Access-Control-Request-Method": {o.method}, "Access-Control-Request-Headers": {"authorization, content-type"}}
				})
				shared("a preflight", page, page, a)
				if a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), o.method) || a.header.Get("Access-Control-Allow-Headers") != "authorization, content-type" {
					t.Errorf("preflight: %d %v", a.status, a.header)
				}
			})
		}
	}
}
