package web

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestCompress(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", minCompressed)
	address := start(t, Options{Compress: true}, func(s *Server) {
		s.Route(auth.Open, http.MethodGet, "/text", func(c echo.Context) error {
			c.Response().Header().Set("ETag", `"17"`)
			return c.Blob(http.StatusOK, c.QueryParam("type"), []byte(c.QueryParam("text")))
		}, "type", "text")
		s.Route(auth.Open, http.MethodGet, "/encoded", func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderContentEncoding, "br")
			return c.Blob(http.StatusOK, api.MediaJSON, []byte(long))
		})
		s.Route(auth.Open, http.MethodGet, "/problem", func(echo.Context) error {
			return model.Errorf(model.ValidationFailed, "%s", long)
		})
		s.Route(auth.Open, http.MethodGet, "/events", func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderContentType, api.MediaEvents)
			if _, err := io.WriteString(c.Response(), ":\n\n"); err != nil {
				return err
			}
			Flush(c.Request().Context())
			<-c.Request().Context().Done() // the client reads the line before the stream ends
			return nil
		})
	})
	ask := func(method, path string, accept ...string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Accept-Encoding"] = accept // also if there is none
		a, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Body.Close() })
		if a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s %s: Vary is %q", method, path, a.Header.Get("Vary"))
		}
		return a
	}
	encoding := func(a *http.Response) string { return a.Header.Get(echo.HeaderContentEncoding) }

	text := "/text?type=" + api.MediaJSON + "&text=" + long
	for accept, want := range map[string]string{
		"gzip": Gzip, "br, GZIP;q=0.1": Gzip, "deflate,gzip ; q=1": Gzip, "gzip, zstd": Gzip,
		"": "", "identity": "", "gzip;q=0": "", "gzip;q=0.000, br": "", "x-gzipped": "", "br": "", "zstd": "", "gzip;q=x": "",
	} {
		a := ask(http.MethodGet, text, accept)
		body, tag := io.Reader(a.Body), `"17"`
		if encoding(a) != want {
			t.Errorf("Accept-Encoding: %s is answered with %q", accept, encoding(a))
			continue
		}
		if want == Gzip {
			var err error
			if body, err = gzip.NewReader(a.Body); err != nil {
				t.Fatal(err)
			}
			tag = `"17-gzip"`
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != long || a.Header.Get("ETag") != tag {
			t.Errorf("Accept-Encoding: %s: %v, ETag %s, %d bytes", accept, err, a.Header.Get("ETag"), len(got))
		}
	}
	if a := ask(http.MethodGet, text); encoding(a) != "" || a.ContentLength != minCompressed {
		t.Errorf("without Accept-Encoding: %q, %d bytes", encoding(a), a.ContentLength)
	}
	for path, want := range map[string]string{
		"/text?type=" + api.MediaJSON + "&text=" + long[1:]: "", "/text?type=" + api.MediaEvents + "&text=" + long: "", "/text?type=image/png&text=" + long: "",
		"/text?type=" + api.MediaNDJSON + "&text=" + long: Gzip, "/text?type=text/html&text=" + long: Gzip,
		"/problem": Gzip, "/encoded": "br", "/healthz": "", "/none": "", "/docs": Gzip,
	} {
		if a := ask(http.MethodGet, path, Gzip); encoding(a) != want {
			t.Errorf("%.40s is answered with %q, want %q", path, encoding(a), want)
		}
	}
	if a := ask(http.MethodHead, text, Gzip); encoding(a) != "" || a.Header.Get("ETag") != `"17"` || a.ContentLength != minCompressed {
		t.Errorf("HEAD: %v", a.Header)
	}
	if line, err := bufio.NewReader(ask(http.MethodGet, "/events", Gzip).Body).ReadString('\n'); err != nil || line != ":\n" {
		t.Errorf("events: %q, %v", line, err)
	}
}
