package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// newAPI sets up huma: without its own pages, with JSON as the only format.
func newAPI(e *echo.Echo, o Options) huma.API {
	return humaecho.New(e, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: o.Title, Version: o.Version, Description: o.Description},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token. Each operation lists the permission that its role must have."},
				},
			},
		},
		Formats:          map[string]huma.Format{api.MediaJSON: jsonFormat, "json": jsonFormat},
		DefaultFormat:    api.MediaJSON,
		NoFormatFallback: false,
	})
}

// Handle adds an operation, one of the server's calls, to its routes and to its
// OpenAPI document. Input and output are structs in huma's form.
func Handle[I, O any](s *Server, p auth.Permission, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	p = s.declare(p, op.Method, echoPath(op.Path))
	if p != auth.Open {
		op.Security = []map[string][]string{{"token": {string(p)}}}
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = MaxBody
	}
	if op.BodyReadTimeout == 0 {
		op.BodyReadTimeout = requestTimeout
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	s.describeProblems(op.Responses, s.codes(p, op, reflect.TypeFor[I]()))
	huma.Register(s.API, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, err) // so that any other error in huma is its own
		}
		return out, nil
	})
	registered := s.API.OpenAPI().Paths[op.Path]
	for _, r := range []*huma.Operation{registered.Get, registered.Post, registered.Put, registered.Patch, registered.Delete} {
		if r != nil && r.Method == op.Method {
			s.readings[route{op.Method, echoPath(op.Path)}] = readingOf(r, s.strict)
		}
	}
}

// codes are the codes that an operation fails with: its row in the table of calls,
// and those of its permission and its input.
func (s *Server) codes(p auth.Permission, op huma.Operation, input reflect.Type) []model.Code {
	call := op.Method + " " + op.Path
	row, known := s.calls[call]
	if !known {
		panic(call + " is not in the table of calls")
	}
	codes := append(slices.Clone(row), model.ValidationFailed)
	if p != auth.Open {
		codes = append(codes, model.Unauthenticated, model.Forbidden, model.RateLimited)
	}
	if _, decoded := input.FieldByName("Body"); decoded {
		codes = append(codes, model.BodyTooLarge, model.UnsupportedMediaType)
	} else if _, read := input.FieldByName("ContentType"); read {
		codes = append(codes, model.UnsupportedMediaType)
	}
	if _, conditional := input.FieldByName("IfMatch"); conditional {
		codes = append(codes, model.PreconditionFailed)
	}
	return codes
}

// describeProblems documents the codes of each status.
func (s *Server) describeProblems(responses map[string]*huma.Response, codes []model.Code) {
	registry := s.API.OpenAPI().Components.Schemas
	schema := registry.Schema(reflect.TypeFor[problem](), true, "Problem")
	registry.Map()["Problem"].Properties["code"].Enum = allCodes
	content := map[string]*huma.MediaType{api.MediaProblem: {Schema: schema}}
	for _, code := range codes {
		status := strconv.Itoa(statusOf[code])
		if r := responses[status]; r != nil {
			r.Description += ", " + string(code)
		} else {
			responses[status] = &huma.Response{Description: string(code), Content: content}
		}
	}
	responses["default"] = &huma.Response{Description: "Any other failure", Content: content}
}

var allCodes = func() (codes []any) {
	for _, code := range slices.Sorted(maps.Keys(statusOf)) {
		codes = append(codes, code)
	}
	return codes
}()

// echoPath writes /v1/things/{id} as /v1/things/:id.
func echoPath(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, "{", ":"), "}", "")
}

// jsonFormat reads bodies strictly. huma validates a value of any type against the
// schema first, then fills the handler's type.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		text, err := model.EncodeJSON(v)
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		return err
	},
	Unmarshal: func(data []byte, v any) error {
		anything, isAny := v.(*any)
		if !isAny {
			return api.Decode(data, v)
		}
		data = bytes.TrimPrefix(data, []byte(api.ByteOrderMark))
		if err := model.CheckBody(data); err != nil {
			return err
		}
		err := json.Unmarshal(data, anything)
		*anything = nameNulls(*anything)
		return err
	},
}

// null stands for JSON's null during validation. huma treats nil as a missing
// property; this value is valid for a payload only.
type null struct{}

func nameNulls(v any) any {
	switch v := v.(type) {
	case nil:
		return null{}
	case map[string]any:
		for name, value := range v {
			v[name] = nameNulls(value)
		}
	case []any:
		for i, value := range v {
			v[i] = nameNulls(value)
		}
	}
	return v
}

// documentation adds /openapi.json and the page that renders it. The program embeds
// all parts of the page.
func (s *Server) documentation(title string) {
	s.Route(auth.Document, http.MethodGet, "/openapi.json", func(c echo.Context) error {
		return c.JSON(http.StatusOK, s.API.OpenAPI())
	})
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		Title:       title,
		SwaggerJSON: "/openapi.json",
		BasePath:    "/docs/",
	})
	var page rendered
	ui.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/docs/"}})
	policy := containing(page.String())
	contained := func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderContentSecurityPolicy, policy)
		ui.ServeHTTP(c.Response(), c.Request())
		return nil
	}
	s.Route(auth.Document, http.MethodGet, "/docs", contained)
	s.Route(auth.Document, http.MethodGet, "/docs/*", contained)
}

// rendered records what a handler writes.
type rendered struct {
	strings.Builder
	header http.Header
}

func (r *rendered) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

func (r *rendered) WriteHeader(int) {}

var inline = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

// containing is a content security policy for a page: it may use resources of this
// server, and only its present inline scripts and styles, by their hash.
func containing(page string) string {
	own := map[string]string{}
	for _, match := range inline.FindAllStringSubmatch(page, -1) {
		sum := sha256.Sum256([]byte(match[2]))
		own[match[1]] += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'self'; script-src 'self'" + own["script"] + "; style-src 'self'" + own["style"] +
		"; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
