// Package console serves the web console. Its pages are built from the folder ui and
// embedded, so that programs are built without Node.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/model"
)

//go:embed dist
var dist embed.FS

// AssetsPath is the path of scripts and styles. Below it is the hash of all of them.
const AssetsPath = "/assets/{hash}/{file}"

// Pages are the paths of pages. All have the same document: its script shows the page
// of the address.
var Pages = []string{
	"/",
	"/features", "/features/{feature}", "/tests", "/tests/{test}", "/groups", "/groups/{group}", "/subjects", "/subjects/{id}",
	"/buckets", "/edges", "/audit", "/tokens", "/start",
}

// policy lets pages load scripts and styles from this server alone. Texts never become
// markup: Svelte's own policy is the only one that may create it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"

// Options are the settings of the pages.
type Options struct {
	// ReasonAbove is the share of the weight, from 0 to 1, above which pages require a
	// reason for a change.
	ReasonAbove float64
}

// Console holds the files, compressed once.
type Console struct {
	hash   string
	index  []byte
	assets map[string]asset
}

type asset struct {
	mediaType    string
	text, zipped []byte
}

// New returns the console.
func New(o Options) *Console {
	c := &Console{assets: map[string]asset{}}
	sum := sha256.New()
	err := fs.WalkDir(dist, "dist/assets", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := dist.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n%s", file, len(text), text)
		c.assets[path.Base(file)] = asset{mediaTypeOf(file), text, zip(text)}
		return nil
	})
	index, readErr := dist.ReadFile("dist/index.html")
	if err != nil || readErr != nil {
		panic(fmt.Sprint(err, readErr)) // the files are a part of the program
	}
	c.hash = hex.EncodeToString(sum.Sum(nil))[:16]
	settings := fmt.Sprintf(`<meta name="flaggery-assets" content="/assets/%s/"><meta name="flaggery-reason-above" content="%g">`, c.hash, o.ReasonAbove)
	page := strings.ReplaceAll(string(index), `"./assets/`, `"/assets/`+template.HTMLEscapeString(c.hash)+`/`)
	c.index = []byte(strings.Replace(page, "<title>", settings+"<title>", 1))
	return c
}

// mediaTypeOf does not ask the system, whose tables differ.
func mediaTypeOf(file string) string {
	switch path.Ext(file) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".md":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(file))
}

func zip(text []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // the level is valid, and buffers do not fail
	}
	return out.Bytes()
}

// Page answers with the document of all pages. It must not be cached: it names the
// scripts of this release.
func (c *Console) Page(ctx echo.Context) error {
	h := ctx.Response().Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	return ctx.HTMLBlob(http.StatusOK, c.index)
}

// Asset answers with a script or a style. Under one hash it never changes. Those of
// other releases are not found: the tab of an earlier release then asks to be reloaded.
func (c *Console) Asset(ctx echo.Context) error {
	a, found := c.assets[ctx.Param("file")]
	if !found || ctx.Param("hash") != c.hash {
		return model.Errorf(model.NotFound, "this release of the console has no such file: reload the page")
	}
	h := ctx.Response().Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Add("Vary", "Accept-Encoding")
	text := a.text
	if acceptsGzip(ctx.Request()) {
		h.Set("Content-Encoding", "gzip")
		text = a.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	return ctx.Blob(http.StatusOK, a.mediaType, text)
}

// acceptsGzip reports whether a client names gzip without refusing it.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, _ := strings.CutPrefix(strings.ReplaceAll(quality, " ", ""), "q=")
			return strings.Trim(q, "0.") != "" || q == ""
		}
	}
	return false
}
