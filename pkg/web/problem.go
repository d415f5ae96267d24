package web

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// statusOf is the one place where codes of the contract become statuses.
var statusOf = map[model.Code]int{
	model.Unauthenticated: http.StatusUnauthorized,
	model.Forbidden:       http.StatusForbidden,

	model.SubjectNotFound:  http.StatusNotFound,
	model.FeatureNotFound:  http.StatusNotFound,
	model.VariantNotFound:  http.StatusNotFound,
	model.RolloutNotFound:  http.StatusNotFound,
	model.ABTestNotFound:   http.StatusNotFound,
	model.GroupNotFound:    http.StatusNotFound,
	model.OverrideNotFound: http.StatusNotFound,
	model.MemberNotFound:   http.StatusNotFound,
	model.TokenNotFound:    http.StatusNotFound,
	model.RevisionNotFound: http.StatusNotFound,

	model.SubjectExists:      http.StatusConflict,
	model.FeatureExists:      http.StatusConflict,
	model.VariantExists:      http.StatusConflict,
	model.RolloutExists:      http.StatusConflict,
	model.ABTestExists:       http.StatusConflict,
	model.GroupExists:        http.StatusConflict,
	model.NoBuckets:          http.StatusConflict,
	model.FeatureHasVariants: http.StatusConflict,
	model.VariantInUse:       http.StatusConflict,
	model.ABTestOverlap:      http.StatusConflict,
	model.ABTestLive:         http.StatusConflict,
	model.FeatureArchived:    http.StatusConflict,
	model.EdgesTooOld:        http.StatusConflict,
	model.NotRevertible:      http.StatusConflict,
	model.HistoryUnavailable: http.StatusUnprocessableEntity,

	model.NotFound:             http.StatusNotFound,
	model.MethodNotAllowed:     http.StatusMethodNotAllowed,
	model.UnsupportedMediaType: http.StatusUnsupportedMediaType,

	model.PreconditionFailed: http.StatusPreconditionFailed,
	model.BodyTooLarge:       http.StatusRequestEntityTooLarge,
	model.ValidationFailed:   http.StatusUnprocessableEntity,
	model.ReadOnly:           http.StatusLocked,
	model.RateLimited:        http.StatusTooManyRequests,
	model.NotReady:           http.StatusServiceUnavailable,
}

// problem is the answer to a request that failed, in the form in which huma
// writes it.
type problem struct{ api.Problem }

// GetStatus implements [huma.StatusError].
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements [huma.ContentTypeFilter].
func (p *problem) ContentType(string) string { return api.MediaProblem }

// GetHeaders implements [huma.HeadersError]: what goes with the status.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set(echo.HeaderRetryAfter, "1")
	}
	return h
}

func newProblem(status int, code model.Code, detail string, fields []model.FieldError) *problem {
	title := http.StatusText(status)
	if detail == "" {
		detail = strings.ToLower(title)
	}
	return &problem{api.Problem{Type: "about:blank", Title: title, Status: status, Code: code, Detail: detail, Errors: fields}}
}

// problemOf translates any error. What nobody foresaw is logged with its cause
// and shown without it. The answer to it is from no revision that is known.
func (s *Server) problemOf(ctx context.Context, err error) *problem {
	p := s.translate(ctx, err)
	if w, ok := ctx.Value(responseKey{}).(http.ResponseWriter); ok && p.Status >= http.StatusInternalServerError {
		w.Header().Del(api.HeaderRevision)
	}
	return p
}

func (s *Server) translate(ctx context.Context, err error) *problem {
	var (
		written  *problem
		ofModel  *model.Error
		ofEcho   *echo.HTTPError
		network  net.Error
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &written):
		return written
	case errors.As(err, &ofModel):
		status, known := statusOf[ofModel.Code]
		if !known {
			break
		}
		return newProblem(status, ofModel.Code, ofModel.Detail, ofModel.Fields)
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, model.BodyTooLarge, "the request body is too large", nil)
	case errors.As(err, &ofEcho) && ofEcho.Code < http.StatusInternalServerError:
		return newProblem(ofEcho.Code, codesOfEcho[ofEcho.Code], "", nil)
	case ctx.Err() != nil:
		s.log.DebugContext(ctx, "the client went away", "request_id", RequestID(ctx), "error", err)
		// Nobody reads this, but for a client that has only closed its own side. It is
		// no failure of the service, and must not be counted as one.
		return newProblem(http.StatusRequestTimeout, "", "the client gave the request up", nil)
	case errors.As(err, &network):
		s.log.ErrorContext(ctx, "the database does not answer", "request_id", RequestID(ctx), "error", err)
		return newProblem(http.StatusServiceUnavailable, model.NotReady, "the database does not answer", nil)
	}
	s.log.ErrorContext(ctx, "internal error", "request_id", RequestID(ctx), "error", err)
	return newProblem(http.StatusInternalServerError, "", "internal error, logged with request id "+RequestID(ctx), nil)
}

// codesOfEcho name what the router finds.
var codesOfEcho = map[int]model.Code{
	http.StatusNotFound:         model.NotFound,
	http.StatusMethodNotAllowed: model.MethodNotAllowed,
}

// WriteProblem answers with an error in place of a handler's own writing.
func (s *Server) WriteProblem(hc huma.Context, err error) { s.answerProblem(err, humaecho.Unwrap(hc)) }

// answerProblem is also echo's error handler.
func (s *Server) answerProblem(err error, c echo.Context) {
	p := s.problemOf(c.Request().Context(), err)
	header := c.Response().Header()
	for name, values := range p.GetHeaders() {
		if name == echo.HeaderRetryAfter {
			header.Del(name) // a body that was refused has set it
		}
		for _, value := range values {
			header.Add(name, value) // there may be another WWW-Authenticate
		}
	}
	body, err := json.Marshal(p)
	if err == nil {
		err = c.Blob(p.Status, api.MediaProblem, append(body, '\n'))
	}
	if err != nil {
		s.log.DebugContext(c.Request().Context(), "problem not delivered", "error", err)
	}
}

// huma keeps these in variables of its packages. They are set once, to values
// without state, so that all servers of a process can share them.
func init() {
	huma.NewError = humaProblem
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	validation.MsgExpectedRequiredProperty = isRequired + "%s"
}

// unfit are the messages about bodies that are JSON and still no request.
var unfit = []string{model.ErrJSONTrailing.Error(), model.ErrJSONNumber.Error(), model.ErrJSONDepth.Error()}

// isRequired begins the message of a property that is missing; its name follows.
const isRequired = "is required: "

// humaProblem makes a problem of what huma itself found wrong with a request.
func humaProblem(status int, detail string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusInternalServerError: // the body could not be read: handlers fail with problems
		if refused := (*model.Error)(nil); errors.As(errors.Join(errs...), &refused) {
			return newProblem(statusOf[refused.Code], refused.Code, refused.Detail, nil)
		}
		return newProblem(http.StatusBadRequest, model.ValidationFailed, "the request body ended early", nil)
	case http.StatusRequestEntityTooLarge:
		return newProblem(status, model.BodyTooLarge, detail, nil)
	}
	fields := make([]model.FieldError, 0, len(errs))
	for _, err := range errs {
		field := fieldError(err)
		switch {
		case slices.Contains(unfit, field.Message):
			status = http.StatusUnprocessableEntity // it parses, but it is not what the contract allows
		case status == http.StatusBadRequest && field.Location == "body": // and not without any body
			detail = "the request body is not valid JSON"
		}
		fields = append(fields, field)
	}
	if status == http.StatusUnprocessableEntity {
		detail = "the request is not valid"
	}
	return newProblem(status, model.ValidationFailed, detail, fields)
}

// fieldError puts what huma found into the words of the contract: the location
// is that of the field, also where the field is missing.
func fieldError(err error) model.FieldError {
	var detail *huma.ErrorDetail
	if !errors.As(err, &detail) {
		return model.FieldError{Location: "body", Message: err.Error()}
	}
	if name, missing := strings.CutPrefix(detail.Message, isRequired); missing {
		return model.FieldError{Location: detail.Location + "." + name, Message: "is required"}
	}
	return model.FieldError{Location: detail.Location, Message: detail.Message}
}
