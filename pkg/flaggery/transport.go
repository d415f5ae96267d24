package flaggery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/backoff"
)

// Delays before a retry are random between 0 and firstDelay, which doubles with each
// attempt up to maxDelay. If a service asks for more than maxDelay, there is no retry:
// the caller knows better what to do.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 2 * time.Second
)

// How much of a failed answer is read: of Flaggery's, which names every fault of a large
// document, and of a proxy's, to reuse the connection.
const (
	maxProblem = 16 << 20
	maxDrain   = 64 << 10
)

// client is the part that both clients share.
type client struct {
	base      string // without a slash at its end
	token     string
	http      http.Client
	timeout   time.Duration
	retries   int
	userAgent string
}

// request is one call.
type request struct {
	method string
	path   string // percent-encoded
	query  url.Values
	header http.Header
	body   []byte
	retry  bool          // may be retried, as it changes nothing
	wait   time.Duration // how long the service may wait
}

// answer is a success, or 304.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) receipt() Receipt {
	revision, _ := strconv.ParseInt(a.header.Get(api.HeaderRevision), 10, 64) // 0 if a proxy has dropped it
	return Receipt{Revision: revision, ETag: a.header.Get("ETag"), Body: a.body}
}

// Ready fails if the service is not ready.
func (c *client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/readyz", retry: true})
	return err
}

// at returns a path below /v1. Segments are encoded so that any id is one segment. The
// segments "." and ".." are too, because proxies that clean paths remove them.
func at(segments ...string) string {
	var path strings.Builder
	path.WriteString("/v1")
	for _, segment := range segments {
		path.WriteByte('/')
		switch segment {
		case ".", "..":
			path.WriteString(strings.ReplaceAll(segment, ".", "%2E"))
		default:
			path.WriteString(url.PathEscape(segment))
		}
	}
	return path.String()
}

// do sends a request and reads its answer. It retries if that is safe and may help, but
// not after the deadline of ctx.
func (c *client) do(ctx context.Context, r request) (answer, error) {
	delays := backoff.Backoff{First: firstDelay, Max: maxDelay}
	for attempt := 0; ; attempt++ {
		a, asked, err := c.attempt(ctx, r)
		if err == nil || !r.retry || attempt >= c.retries || ctx.Err() != nil || !passing(err) || asked > maxDelay {
			return a, err
		}
		delay := asked + delays.Next()
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay || backoff.Sleep(ctx, delay) != nil {
			return a, err
		}
	}
}

// passing reports whether a retry may succeed.
func passing(err error) bool {
	var problem *api.Problem
	if !errors.As(err, &problem) {
		return true
	}
	switch problem.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// attempt also returns the delay that the service asks for.
func (c *client) attempt(ctx context.Context, r request) (a answer, asked time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.wait)
	defer cancel()
	response, err := c.open(ctx, r, bytes.NewReader(r.body))
	if err != nil {
		if response != nil {
			seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
			asked = time.Duration(max(seconds, 0)) * time.Second
		}
		return a, asked, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return a, 0, unread(r, err)
	}
	return answer{response.StatusCode, response.Header, body}, 0, nil
}

// unread is the error of an answer whose body broke off. It is a *url.Error, as that of one
// that never came.
func unread(r request, err error) error {
	return &url.Error{Op: r.method, URL: r.path, Err: fmt.Errorf("read the answer: %w", err)}
}

// open sends one request. If it succeeds, the caller closes the response; if not, the
// response has only its header.
func (c *client) open(ctx context.Context, r request, body io.Reader) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		q.Header[name] = values
	}
	if r.body != nil && q.Header.Get("Content-Type") == "" {
		q.Header.Set("Content-Type", api.MediaJSON)
	}
	q.Header.Set("User-Agent", c.userAgent)
	if c.token != "" {
		q.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(q)
	if err != nil {
		return nil, err // a *url.Error, which names method and URL
	}
	if code := response.StatusCode; code >= 200 && code < 300 || code == http.StatusNotModified && q.Header.Get("If-None-Match") != "" {
		return response, nil
	}
	defer response.Body.Close()
	return response, fmt.Errorf("%s %s: %w", r.method, r.path, problem(response))
}

// problem reads the problem of an answer that is no success. Answers of proxies have
// none: one is made of their status.
func problem(response *http.Response) *api.Problem {
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	limit := int64(maxDrain)
	if media == api.MediaProblem {
		limit = maxProblem
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, limit))
	var p api.Problem
	if media == api.MediaProblem && json.Unmarshal(text, &p) == nil {
		p.Status = response.StatusCode
		return &p
	}
	return &api.Problem{
		Type:   "about:blank",
		Title:  http.StatusText(response.StatusCode),
		Status: response.StatusCode,
		Detail: "answered " + response.Status + ", but not by Flaggery: is the base URL right?",
	}
}

// decode keeps payloads as they were sent.
func decode(body []byte, value any) error {
	if err := api.DecodeAnswer(body, value); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

func read[T any](ctx context.Context, c *client, path string, query url.Values) (result Result[T], err error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query, retry: true})
	if err != nil {
		return result, err
	}
	result.Receipt = a.receipt()
	return result, decode(a.body, &result.Value)
}

// list yields the items of all pages, with limit items per page.
func list[T any](ctx context.Context, c *client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := url.Values(http.Header(query).Clone()) // an iterator may run twice
		if query == nil {
			query = url.Values{}
		}
		query.Set("limit", strconv.Itoa(limit))
		for {
			page, err := read[api.Page[T]](ctx, c, path, query)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Value.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Value.Next == "" {
				return
			}
			query.Set("after", page.Value.Next)
		}
	}
}

// write sends value as JSON, or nothing if it is nil.
func write[T any](ctx context.Context, c *client, method, path string, value any, opts []WriteOption) (result Result[T], err error) {
	r := newWrite(method, path, opts)
	if value != nil {
		if r.body, err = api.Encode(value); err != nil {
			return result, fmt.Errorf("%s %s: encode the request: %w", method, path, err)
		}
	}
	a, err := c.do(ctx, r)
	if err != nil {
		return result, err
	}
	return decodeWrite[T](a)
}

// remove sends a DELETE, whose answer has no resource.
func remove(ctx context.Context, c *client, path string, opts []WriteOption) (Receipt, error) {
	result, err := write[json.RawMessage](ctx, c, http.MethodDelete, path, nil, opts)
	return result.Receipt, err
}

func newWrite(method, path string, opts []WriteOption) request {
	var o writeOptions
	for _, option := range opts {
		option(&o)
	}
	r := request{method: method, path: path, query: url.Values{}, header: http.Header{}, wait: o.wait}
	if o.dryRun {
		r.query.Set("dry_run", "true")
	}
	if o.cascade {
		r.query.Set("cascade", "true")
	}
	if o.comment != "" {
		r.query.Set("comment", o.comment)
	}
	if o.wait > 0 {
		r.query.Set("wait", o.wait.String())
	}
	maps.Copy(r.query, o.own)
	if o.ifMatch != "" {
		r.header.Set("If-Match", o.ifMatch)
	}
	return r
}

// decodeWrite distinguishes the forms of a write's answer: nothing or the resource, both
// with the propagation as an additional field if it waited, or the outcome of a dry run.
func decodeWrite[T any](a answer) (result Result[T], err error) {
	result.Receipt = a.receipt()
	if a.status == http.StatusNoContent {
		return result, nil
	}
	var form struct {
		api.DryRun[json.RawMessage]
		Propagation *api.Propagation `json:"propagation"`
	}
	if err := decode(a.body, &form); err != nil {
		return result, err
	}
	result.DryRun, result.Drawn, result.Effect, result.Propagation = form.DryRun.DryRun, form.Drawn, form.Effect, form.Propagation
	result.Removes = form.Removes
	if form.DryRun.DryRun {
		return result, decode(form.Result, &result.Value)
	}
	return result, decode(a.body, &result.Value)
}
