package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestOriginsAreChecked(t *testing.T) {
	for _, text := range []string{
		"https://shop.example", "https://shop.example, http://localhost:3000", "https://*.example.org:8443", "*", "HTTPS://Shop.Example",
	} {
		var o Origins
		if err := o.Set(text); err != nil || !o.Enabled() || o.String() != text {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "shop.example", "https://shop.example/", "https://shop.example/page", "ftp://shop.example", "https://", "null",
		"https://*", "https://*.", "https://*.*.example", "https://shop.*", "https://a*.example", "https://me@shop.example/", "https://shop.example,",
	} {
		if err := new(Origins).Set(text); err == nil || !strings.Contains(err.Error(), "is no origin") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCORS(t *testing.T) {
	var origins Origins
	if err := origins.Set("https://shop.example,https://*.example.org,http://localhost:3000"); err != nil {
		t.Fatal(err)
	}
	handler := func(c echo.Context) error { return c.String(http.StatusOK, "answer") }
	routes := func(s *Server) {
		s.Route(auth.Read, http.MethodGet, "/v1/things", handler)
	}
	nobody := func(context.Context, string) (auth.Identity, error) {
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "%s", auth.ErrUnknownToken)
	}
	url := start(t, Options{Origins: origins, Authenticate: nobody}, routes)
	anyURL := start(t, Options{Origins: Origins{any: true}, Authenticate: nobody}, routes)

	ask := func(method, url string, header http.Header) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	for origin, allowed := range map[string]bool{
		"https://shop.example": true, "https://a.example.org": true, "https://a.b.example.org": true, "http://localhost:3000": true,
		"": false, "null": false, "http://shop.example": false, "https://shop.example:8443": false, "https://shop.example.evil": false,
		"https://evilexample.org": false, "https://.example.org.evil": false, "https://evil:1.example.org": false, "https://me@a.example.org": false,
		"https://evil/.example.org": false, "http://localhost": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		r := ask(http.MethodGet, url+"/v1/things", header)
		want := ""
		if allowed {
			want = origin
		}
		h := r.Header
		if h.Get("Access-Control-Allow-Origin") != want || allowed != (h.Get("Access-Control-Expose-Headers") == "ETag, Flaggery-Revision, Flaggery-Snapshot-Age, Retry-After") {
			t.Errorf("%s: %v", origin, h)
		}
		if r.StatusCode != http.StatusUnauthorized || h.Get("Vary") != "Origin" || h.Values("Access-Control-Allow-Credentials") != nil {
			t.Errorf("%s: %s %v", origin, r.Status, h)
		}
		if h := ask(http.MethodGet, anyURL+"/v1/things", header).Header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Vary") != "" {
			t.Errorf("%s if any origin is allowed: %v", origin, h)
		}
	}

	preflight := http.Header{
		"Origin": {"https://shop.example"}, "Access-Control-Request-Method": {"POST"},
		"Access-Control-Request-Headers": {"authorization,content-type,x-other, If-None-Match"},
	}
	r := ask(http.MethodOptions, url+"/v1/things", preflight)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Methods": "GET, HEAD, POST",
		"Access-Control-Allow-Headers": "authorization, content-type, If-None-Match", "Access-Control-Max-Age": "600", "Vary": "Origin",
	} {
		if r.Header.Get(name) != want {
			t.Errorf("preflight: %s is %q, want %q", name, r.Header.Get(name), want)
		}
	}
	if r.StatusCode != http.StatusNoContent {
		t.Errorf("preflight: %s", r.Status)
	}
	preflight.Set("Origin", "https://evil.example")
	if r := ask(http.MethodOptions, url+"/v1/things", preflight); r.Header.Get("Access-Control-Allow-Origin") != "" || r.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("preflight of another origin: %s %v", r.Status, r.Header)
	}
}
