package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
)

// recorded is an answer of one of our servers. A reference gives it to every
// request, so that the two send the same bytes.
type recorded struct {
	Status int
	Header http.Header
	Body   []byte
}

// record carries out a job once.
func record(ctx context.Context, j job) (recorded, error) {
	request := newWorker(&j, 0).next()
	r, err := exchange(ctx, j.Addr, request)
	if err == nil && j.Conditional {
		r, err = exchange(ctx, j.Addr, conditional(request, r.Header.Get("ETag")))
	}
	if err == nil && r.Status != http.StatusOK && r.Status != http.StatusNotModified {
		err = fmt.Errorf("status %d: %.200s", r.Status, r.Body)
	}
	if err != nil {
		return recorded{}, fmt.Errorf("%s %s: %w", j.Method, j.Path, err)
	}
	return r, nil
}

func exchange(ctx context.Context, addr string, request []byte) (recorded, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return recorded{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return recorded{}, err
	}
	if _, err := conn.Write(request); err != nil {
		return recorded{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return recorded{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	response.Header.Del("Date") // each server's own
	return recorded{response.StatusCode, response.Header, body}, err
}

// reference is the configuration of a reference server.
type reference struct {
	Addr   string
	Answer recorded
	// Subjects makes the server do the least that a service does: parse route and
	// query, and look up the subject in a map of this size.
	Subjects int
	Echo     bool // with echo's router and query instead of net/http's
}

// serveReference runs a reference server until ctx ends.
func serveReference(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r reference
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	server := &http.Server{Addr: r.Addr, Handler: r.handler()}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (r *reference) handler() http.Handler {
	bare := r.Answer.handler()
	if r.Subjects == 0 {
		return bare
	}
	subjects := make(map[string]uint32, r.Subjects)
	for i := range r.Subjects {
		subjects[subjectID(i)] = uint32(i)
	}
	if r.Echo {
		e := echo.New()
		e.GET("/healthz", func(echo.Context) error { return nil })
		e.GET("/v1/subject/flags", func(c echo.Context) error {
			if _, ok := subjects[c.QueryParam("subject_id")]; !ok {
				return echo.ErrNotFound
			}
			bare(c.Response(), c.Request())
			return nil
		})
		return e
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/subject/flags", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := subjects[r.URL.Query().Get("subject_id")]; !ok {
			http.NotFound(w, r)
			return
		}
		bare(w, r)
	})
	return mux
}

// handler is the least that net/http can do: it answers every request with prepared
// bytes.
func (r *recorded) handler() http.HandlerFunc {
	type field struct {
		name   string
		values []string
	}
	var fields []field
	for name, values := range r.Header {
		fields = append(fields, field{name, values})
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		for _, f := range fields {
			header[f.name] = f.values
		}
		w.WriteHeader(r.Status)
		_, _ = w.Write(r.Body) // fails if the client is gone, and for a 304, which has no body
	}
}
