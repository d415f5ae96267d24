package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// Every request has exactly one interpretation. Ambiguous input (a parameter that
// is empty, or given twice) is rejected here, for all routes; input with several
// spellings is normalised.

// reading describes how the requests of a route are read.
type reading struct {
	query, path map[string]form
	// strict routes reject parameters that they do not declare.
	strict bool
	// gzip routes read compressed bodies; they declare the header.
	gzip bool
	// operation is nil for routes outside the OpenAPI document.
	operation *huma.Operation
	answers   []string // media types; the first one is the default
}

// Gzip is the one Content-Encoding of bodies, of the routes that declare this header.
const Gzip = "gzip"

// form is the type of a parameter's values.
type form int

const (
	formSingle form = iota
	formText        // may be empty
	formBoolean
	formFlag    // a boolean that is true if empty
	formInteger // as in bodies
	formList    // several values, separated by commas
	formTime    // as in bodies
	formMany    // a parameter that may be repeated
)

// flags are the booleans that may be empty. Others may not: an empty variable of a script
// must not delete more than was meant.
var flags = []string{"dry_run"}

// freeTexts are the parameters that may be empty: filters without effect and empty
// comments.
var freeTexts = []string{"comment", "prefix", "query", "q"}

// readingOf returns the reading of a registered operation.
func readingOf(op *huma.Operation, strict bool) reading {
	r := reading{query: map[string]form{}, path: map[string]form{}, strict: strict, operation: op, answers: []string{api.MediaJSON}}
	if success := op.Responses["200"]; success != nil && len(success.Content) > 0 {
		r.answers = slices.Sorted(maps.Keys(success.Content))
	}
	for _, declared := range op.Parameters {
		switch declared.In {
		case "header":
			r.gzip = r.gzip || declared.Name == echo.HeaderContentEncoding
		case "path":
			r.path[declared.Name] = formOf(declared)
		case "query":
			form := formOf(declared)
			declared.AllowEmptyValue = form == formText || form == formFlag
			r.query[declared.Name] = form
		}
	}
	return r
}

// AnyQuery accepts all parameters of a route unchecked: the handler checks them.
const AnyQuery = "*"

// pageReading is the reading of a route outside the OpenAPI document.
func pageReading(query []string, strict bool) reading {
	r := reading{query: map[string]form{}, strict: strict}
	for _, name := range query {
		if r.query[name] = formText; strings.HasSuffix(name, "[]") {
			r.query[name] = formMany
		}
	}
	return r
}

func formOf(declared *huma.Param) form {
	switch {
	case slices.Contains(freeTexts, declared.Name):
		return formText
	case slices.Contains(flags, declared.Name):
		return formFlag
	case declared.Schema.Type == huma.TypeBoolean:
		return formBoolean
	case declared.Schema.Type == huma.TypeInteger:
		return formInteger
	case declared.Schema.Type == huma.TypeArray:
		return formList
	case declared.Schema.Format == "date-time":
		return formTime
	}
	return formSingle
}

// readQuery notes the faults of a query and returns it in its normal form.
func (r *reading) readQuery(query url.Values, faults *model.Faults) url.Values {
	one := url.Values{}
	for name, values := range query {
		location := "query." + name
		form, declared := r.query[name]
		switch {
		case !declared && r.strict:
			faults.Addf(location, "is no parameter of this call")
			continue
		case !declared:
			continue
		case form == formMany:
			one[name] = values
			continue
		case form == formList:
			values = []string{strings.Join(values, ",")}
		case len(values) > 1:
			faults.Addf(location, "must be given once, is given %d times", len(values))
			continue
		}
		one.Set(name, form.read(location, values[0], faults))
	}
	return one
}

// isSet reports whether the handler of a request will see the flag as true.
func (r *reading) isSet(q *http.Request, flag string) bool {
	values := q.URL.Query()[flag]
	return r.query[flag] == formFlag && len(values) == 1 && (values[0] == "" || values[0] == "true")
}

// read notes the faults of a value and returns it in its normal form.
func (f form) read(location, value string, faults *model.Faults) string {
	switch {
	case f == formText:
	case f == formFlag && value == "":
		return "true"
	case value == "":
		faults.Addf(location, "must not be empty: leave it out, or give a value")
	case (f == formFlag || f == formBoolean) && value != "true" && value != "false":
		faults.Addf(location, "must be true or false, is %q", value)
	case f == formInteger:
		n, err := api.ParseInteger(value)
		if err != nil {
			faults.Addf(location, "%s, is %q", err, value)
		}
		return strconv.FormatInt(n, 10)
	case f == formTime:
		// Go's own parser also accepts a decimal comma, and offsets of 24 hours.
		quoted, _ := json.Marshal(value) // never fails for a string
		var at time.Time
		if err := api.Decode(quoted, &at); err != nil {
			faults.Check(location, err)
		} else if at.IsZero() { // which stands for none in Go
			faults.Addf(location, "must be later than %s", value)
		}
	}
	return value
}

// readBody rejects a body that the call does not read, or of another media type.
func (r *reading) readBody(q *http.Request) error {
	encoding := q.Header.Get(echo.HeaderContentEncoding)
	switch {
	case q.ContentLength == 0:
		return nil
	case encoding == "" || strings.EqualFold(encoding, "identity"):
	case !r.gzip:
		return model.Errorf(model.UnsupportedMediaType, "this call reads no Content-Encoding, is %q: send the body as it is", encoding)
	case !strings.EqualFold(encoding, Gzip):
		return model.Errorf(model.UnsupportedMediaType, "Content-Encoding must be gzip, is %q", encoding)
	}
	switch {
	case r.operation == nil && q.Method != http.MethodGet: // a page checks its own form
		return nil
	case r.operation == nil || r.operation.RequestBody == nil:
		return readNothing(q.Body)
	}
	return readMediaType(q.Header, r.operation.RequestBody.Content)
}

// readNothing rejects a body, except what clients send that cannot send an empty
// one.
func readNothing(body io.Reader) error {
	const most = 16 // bytes, to allow white space
	text, err := io.ReadAll(io.LimitReader(body, most))
	if err != nil {
		return newProblem(http.StatusBadRequest, model.ValidationFailed, "the request body ended early", nil)
	}
	if said := string(bytes.TrimSpace(text)); len(text) == most || said != "" && said != "{}" {
		return model.Faults{{Location: "body", Message: "must be empty or {}: this call reads no body"}}.Err()
	}
	return nil
}

// readMediaType rejects a body of a media type that a call does not read. Without
// Content-Type, a body counts as JSON, if the call reads that.
func readMediaType(header http.Header, content map[string]*huma.MediaType) error {
	given := header.Get(echo.HeaderContentType)
	if content[given] != nil || len(header[echo.HeaderContentType]) == 0 && content[api.MediaJSON] != nil {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(given)
	if err != nil || content[media] == nil {
		return model.Errorf(model.UnsupportedMediaType, "Content-Type must be %s, is %q",
			strings.Join(slices.Sorted(maps.Keys(content)), " or "), given)
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return model.Errorf(model.UnsupportedMediaType, "the charset in Content-Type must be utf-8, is %q", charset)
	}
	header.Set(echo.HeaderContentType, media)
	return nil
}

// preferred is the media type that a client prefers among some (RFC 9110, section
// 12.5.1), the first of equals. If the client accepts none, it is the first one.
func preferred(accept string, offers ...string) string {
	best, most := offers[0], 0.0
	if len(offers) == 1 {
		return best
	}
	for _, offer := range offers {
		if q := quality(accept, offer); q > most {
			best, most = offer, q
		}
	}
	return best
}

// quality is a client's preference for a media type, from 0 to 1, by the most
// specific matching range.
func quality(accept, offer string) (q float64) {
	kind, _, _ := strings.Cut(offer, "/")
	ranges, last := []string{"*/*", kind + "/*", offer}, -1
	for text := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(text)
		specific := slices.Index(ranges, media)
		if err != nil || specific <= last {
			continue
		}
		q, last = 1, specific
		if weight, given := parameters["q"]; given {
			q, _ = strconv.ParseFloat(weight, 64) // 0 if it is no number
		}
	}
	return q
}

// Headers that may be given once, and headers that are lists.
var (
	singleHeaders = []string{echo.HeaderAuthorization, echo.HeaderContentType, "Last-Event-Id"}
	listHeaders   = []string{echo.HeaderAccept, "If-Match", "If-None-Match", echo.HeaderContentEncoding}
)

// oneHeader is readHeaders as a middleware. It comes before authorization, which
// reads one of the headers.
func oneHeader(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := readHeaders(c.Request().Header); err != nil {
			return err
		}
		return next(c)
	}
}

// readHeaders rejects ambiguous headers, and joins repeated list headers to one
// value.
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
	// A write with an empty condition must not become an unconditional one, which
	// could overwrite somebody's change.
	if tags := header["If-Match"]; len(tags) > 0 && strings.Trim(tags[0], ", \t") == "" {
		faults.Addf("header.If-Match", "must not be empty: leave it out, or name an ETag in double quotes")
	}
	return faults.Err()
}

// HeadersAreSingle reports whether every header that may be given once is given at
// most once. It is for code that answers before the routes.
func HeadersAreSingle(header http.Header) bool {
	return !slices.ContainsFunc(singleHeaders, func(name string) bool { return len(header[name]) > 1 })
}

type headKey struct{}

// IsHead reports whether the request in ctx is a HEAD request. Handlers of streams
// answer it at once; the bodies of all other answers are dropped.
func IsHead(ctx context.Context) bool {
	head, _ := ctx.Value(headKey{}).(bool)
	return head
}

// onePath comes before the router. It decodes unreserved characters of a path, so
// that both spellings lead to one route, and routes HEAD like GET: net/http drops
// the body.
func onePath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawPath != "" {
			u := *r.URL
			u.RawPath = decodeUnreserved(u.RawPath)
			if decoded := (&url.URL{Path: u.Path}); decoded.EscapedPath() == u.RawPath {
				u.RawPath = ""
			}
			r = r.WithContext(r.Context()) // a copy: net/http uses the original
			r.URL = &u
		}
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// decodeUnreserved decodes only the unreserved characters, which mean the same
// encoded or not (RFC 3986, section 2.3): %2F is no slash.
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
