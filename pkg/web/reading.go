package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// Every request has one reading. What one reader would take for absent and another
// for the last of two values (a parameter that is there but empty, or there twice) is
// refused here, for all routes; what has several spellings gets one.

// parameters are those that a route declares in its query.
type parameters struct {
	all map[string]form
	// strict routes refuse parameters that they do not declare.
	strict bool
	// gzip routes read bodies that are compressed, which they declare as a header.
	gzip bool
}

// Gzip is the one Content-Encoding of bodies, of the routes that declare this header.
const Gzip = "gzip"

// form is how the values of a parameter are read.
type form int

const (
	formSingle form = iota
	formText        // may be empty
	formFlag        // true if empty
	formList        // several values are one, separated by commas
	formTime        // as in bodies
)

// freeTexts are the parameters that may be empty: as a filter that lets all through,
// or as a comment that says nothing.
var freeTexts = []string{"comment", "prefix", "query", "q"}

func parametersOf(op *huma.Operation, strict bool) parameters {
	p := parameters{all: map[string]form{}, strict: strict}
	for _, declared := range op.Parameters {
		p.gzip = p.gzip || declared.In == "header" && declared.Name == echo.HeaderContentEncoding
		if declared.In != "query" {
			continue
		}
		switch {
		case slices.Contains(freeTexts, declared.Name):
			declared.AllowEmptyValue = true
			p.all[declared.Name] = formText
		case declared.Schema.Type == huma.TypeBoolean:
			declared.AllowEmptyValue = true
			p.all[declared.Name] = formFlag
		case declared.Schema.Type == huma.TypeArray:
			p.all[declared.Name] = formList
		case declared.Schema.Format == "date-time":
			p.all[declared.Name] = formTime
		default:
			p.all[declared.Name] = formSingle
		}
	}
	return p
}

// read notes what is wrong with a query and returns it in its one spelling.
func (p *parameters) read(query url.Values, faults *model.Faults) url.Values {
	one := url.Values{}
	for name, values := range query {
		location := "query." + name
		form, declared := p.all[name]
		switch {
		case !declared && p.strict:
			faults.Addf(location, "is no parameter of this call")
			continue
		case !declared:
			continue
		case form == formList:
			values = []string{strings.Join(values, ",")}
		case len(values) > 1:
			faults.Addf(location, "must be given once, is given %d times", len(values))
			continue
		}
		value := values[0]
		switch {
		case form == formFlag && value == "":
			value = "true"
		case value == "" && form != formText:
			faults.Addf(location, "must not be empty: leave it out, or give a value")
		case form == formTime:
			// Go's own parser takes a comma for the point, and offsets of 24 hours.
			quoted, _ := json.Marshal(value) // text always has a JSON form
			faults.Check(location, api.Decode(quoted, new(time.Time)))
		}
		one.Set(name, value)
	}
	return one
}

// checkEncoding refuses a body that would be read as what it is not.
func (p *parameters) checkEncoding(r *http.Request) error {
	encoding := r.Header.Get(echo.HeaderContentEncoding)
	switch {
	case encoding == "" || r.ContentLength == 0 || strings.EqualFold(encoding, "identity"):
		return nil
	case !p.gzip:
		return model.Errorf(model.UnsupportedMediaType, "this call reads no Content-Encoding, is %q: send the body as it is", encoding)
	case !strings.EqualFold(encoding, Gzip):
		return model.Errorf(model.UnsupportedMediaType, "Content-Encoding must be gzip, is %q", encoding)
	}
	return nil
}

// Headers that may be there once, and headers that are lists.
var (
	singleHeaders = []string{echo.HeaderAuthorization, echo.HeaderContentType, "Last-Event-Id"}
	listHeaders   = []string{"If-Match", "If-None-Match", echo.HeaderContentEncoding}
)

// oneHeader is readHeaders as a middleware. It comes before authorization, which reads
// a header.
func oneHeader(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := readHeaders(c.Request().Header); err != nil {
			return err
		}
		return next(c)
	}
}

// readHeaders refuses headers that two readers may understand differently, and makes
// one value of those that are lists.
func readHeaders(header http.Header) error {
	var faults model.Faults
	for _, name := range singleHeaders {
		if n := len(header[name]); n > 1 {
			faults.Addf("header."+name, "must be given once, is given %d times", n)
		}
	}
	for _, name := range listHeaders {
		values := header[name]
		if len(values) == 0 {
			continue
		}
		header[name] = []string{strings.Join(values, ", ")}
	}
	// To write without a condition because the condition is empty would be to lose
	// somebody's change.
	if tags := header["If-Match"]; len(tags) > 0 && strings.Trim(tags[0], ", \t") == "" {
		faults.Addf("header.If-Match", "must not be empty: leave it out, or name an ETag in double quotes")
	}
	return faults.Err()
}

// HeadersAreSingle reports whether no header is there twice that may be there once,
// for whoever answers before the routes do.
func HeadersAreSingle(header http.Header) bool {
	return !slices.ContainsFunc(singleHeaders, func(name string) bool { return len(header[name]) > 1 })
}

type headKey struct{}

// IsHead reports whether the request in ctx asks for the head of an answer alone.
// Handlers of streams answer it at once; the body of all others is dropped.
func IsHead(ctx context.Context) bool {
	head, _ := ctx.Value(headKey{}).(bool)
	return head
}

// onePath comes before the router. It decodes what a path need not encode, so that
// both spellings lead to one route, and lets HEAD be answered as GET is: net/http
// drops the body.
func onePath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawPath != "" {
			u := *r.URL
			u.RawPath = decodeUnreserved(u.RawPath)
			if plain := (&url.URL{Path: u.Path}); plain.EscapedPath() == u.RawPath {
				u.RawPath = ""
			}
			r = r.WithContext(r.Context()) // a copy: net/http goes by its own
			r.URL = &u
		}
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// decodeUnreserved decodes the characters that mean the same encoded or not (RFC
// 3986, section 2.3), and no others: %2F is no slash.
func decodeUnreserved(path string) string {
	var decoded strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if text, err := url.PathUnescape(path[i : i+3]); err == nil && len(text) == 1 && unreserved(text[0]) {
				decoded.WriteString(text)
				i += 2
				continue
			}
		}
		decoded.WriteByte(path[i])
	}
	return decoded.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
