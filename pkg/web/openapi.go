package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/flaggery/flaggery/pkg/api"
)

// newAPI sets huma up: its own pages are off, the only format is JSON.
func newAPI(e *echo.Echo, title, version string) huma.API {
	return humaecho.New(e, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: title, Version: version},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token. Each operation lists the permission that its role must have."},
				},
			},
		},
		Formats:                      map[string]huma.Format{api.MediaJSON: jsonFormat, api.MediaProblem: jsonFormat},
		DefaultFormat:                api.MediaJSON,
		NoFormatFallback:             false,
		RejectUnknownQueryParameters: true,
	})
}

// Handle adds an operation to the server and to its OpenAPI document. Input and
// output are structs in the form that huma describes.
func Handle[I, O any](s *Server, p Permission, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	s.declare(p, op.Method, echoPath(op.Path))
	if p := s.permissions[route{op.Method, echoPath(op.Path)}]; p != Open {
		op.Security = []map[string][]string{{"token": {string(p)}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = MaxBody
	}
	huma.Register(s.API, op, h)
}

// echoPath writes /v1/things/{id} as /v1/things/:id.
func echoPath(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, "{", ":"), "}", "")
}

// Bodies that are JSON and still no request.
var (
	errTrailing = errors.New("must be a single JSON value")
	errRange    = errors.New("must not hold numbers beyond 1.8e308")
)

var jsonFormat = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, v any) error {
		d := json.NewDecoder(bytes.NewReader(data))
		_, anything := v.(*any)
		if !anything {
			// huma validates floats first, then fills the handler's type: from here on
			// numbers of any size and precision stay as they were sent.
			d.UseNumber()
		}
		if err := d.Decode(v); err != nil {
			if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
				if anything {
					return errRange // the only thing that does not fit anything
				}
				return fmt.Errorf("%s does not take this %s", wrong.Field, wrong.Value)
			}
			return fmt.Errorf("does not parse: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		if _, err := d.Token(); err != io.EOF {
			return errTrailing
		}
		return nil
	},
}

// documentation adds /openapi.json and the page that renders it, whose parts are
// all in the program.
func (s *Server) documentation(title string) {
	s.Route(Document, http.MethodGet, "/openapi.json", func(c echo.Context) error {
		return c.JSON(http.StatusOK, s.API.OpenAPI())
	})
	page := echo.WrapHandler(v5emb.NewHandlerWithConfig(swgui.Config{
		Title:       title,
		SwaggerJSON: "/openapi.json",
		BasePath:    "/docs/",
		SettingsUI:  map[string]string{"persistAuthorization": "true"},
	}))
	contained := func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderContentSecurityPolicy,
			"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
		return page(c)
	}
	s.Route(Document, http.MethodGet, "/docs", contained)
	s.Route(Document, http.MethodGet, "/docs/*", contained)
}
