package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// served is the console behind its routes alone.
func served(t *testing.T) (c *Console, get func(path, encoding string) *httptest.ResponseRecorder) {
	t.Helper()
	c, e := New(Options{ReasonAbove: 0.3}), echo.New()
	parameter := regexp.MustCompile(`{(\w+)}`)
	for _, page := range Pages {
		e.GET(parameter.ReplaceAllString(page, ":$1"), c.Page)
	}
	e.GET(parameter.ReplaceAllString(AssetsPath, ":$1"), c.Asset)
	return c, func(path, encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		return w
	}
}

func TestPages(t *testing.T) {
	_, get := served(t)
	first := get("/", "").Body.String()
	for _, page := range []string{"/features", "/features/checkout.one-page", "/subjects/a%2Fb%20c%3F", "/tests/x?edit=1", "/start"} {
		w := get(page, "")
		if w.Code != http.StatusOK || w.Body.String() != first {
			t.Errorf("%s: %d: %s", page, w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Type": "text/html; charset=UTF-8",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %s", page, name, got)
			}
		}
	}
	if !strings.Contains(first, `<meta name="flaggery-reason-above" content="0.3">`) {
		t.Error("the page lacks a setting:", first)
	}
	if strings.Contains(first, "./assets/") {
		t.Error("the page names files relative to its own path:", first)
	}
	for _, none := range []string{"/v1/features", "/nowhere"} {
		if w := get(none, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", none, w.Code)
		}
	}
}

func TestAssets(t *testing.T) {
	c, get := served(t)
	names := regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(string(c.index), -1)
	if len(names) < 3 { // a script, a style and an icon
		t.Fatalf("the page names %q", names)
	}
	for _, name := range names {
		if strings.HasSuffix(name[1], "/") {
			continue
		}
		plain, zipped := get(name[1], ""), get(name[1], "br, gzip;q=0.8")
		if plain.Code != http.StatusOK || plain.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || plain.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %d %v", name[1], plain.Code, plain.Header())
		}
		r, err := gzip.NewReader(zipped.Body)
		if err != nil || zipped.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v %v", name[1], zipped.Header(), err)
		}
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
			t.Errorf("%s is another text compressed: %v", name[1], err)
		}
		if got := get(name[1], "gzip;q=0").Header().Get("Content-Encoding"); got != "" {
			t.Errorf("%s comes as %s to a client that refuses gzip", name[1], got)
		}
	}
	for _, none := range []string{"/assets/0123456789abcdef/app.js", "/assets/" + c.hash + "/other.js", "/assets/" + c.hash + "/..%2Findex.html"} {
		if w := get(none, ""); w.Code == http.StatusOK {
			t.Errorf("%s is served", none)
		}
	}
}

// TestSizes keeps the console quick on slow networks. Sizes are in bytes, compressed.
func TestSizes(t *testing.T) {
	const maxEntry, maxPage = 60_000, 12_000
	index := New(Options{}).index
	entry := len(zip(index))
	err := fs.WalkDir(dist, "dist/assets", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := dist.ReadFile(file)
		size := len(zip(text))
		switch name := path.Base(file); {
		case bytes.Contains(index, []byte("/"+name+`"`)):
			entry += size
		case size > maxPage && path.Ext(name) == ".js":
			t.Errorf("%s has %d bytes, more than %d", name, size, maxPage)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("entry: %d bytes", entry)
	if entry > maxEntry {
		t.Errorf("the first page has %d bytes, more than %d", entry, maxEntry)
	}
}
