package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// underLoad carries out a job on a handler for a moment.
func underLoad(t *testing.T, j job, handler http.HandlerFunc) outcome {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	j.Addr, j.PID = server.Listener.Addr().String(), os.Getpid()
	if j.Connections == 0 {
		j.Connections = 4
	}
	if j.Duration == 0 {
		j.Duration = 20 * time.Millisecond
	}
	o, err := j.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestLoadAsksForEverySubject(t *testing.T) {
	var seen sync.Map
	j := flagsOf(20)
	j.Limit, j.Duration = 2000, time.Minute
	o := underLoad(t, j, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.URL.Query().Get("subject_id"), true)
		_, _ = w.Write([]byte("twelve bytes"))
	})
	if o.Requests == 0 || o.Errors != 0 {
		t.Fatalf("%d requests, %d errors: %s", o.Requests, o.Errors, o.Error)
	}
	if o.Bytes != 12*o.Requests {
		t.Errorf("%d bytes in %d answers, want 12 in each", o.Bytes, o.Requests)
	}
	if o.P50 <= 0 || o.P99 < o.P50 {
		t.Errorf("p50 is %v and p99 %v", o.P50, o.P99)
	}
	for i := range 20 {
		if _, ok := seen.LoadAndDelete(subjectID(i)); !ok {
			t.Errorf("subject %d was not asked for", i)
		}
	}
	seen.Range(func(id, _ any) bool { t.Errorf("%q is no subject", id); return true })
}

func TestLoadReadsChunkedAnswers(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	o := underLoad(t, flagsOf(20), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(long[:10]))
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte(long[10:]))
	})
	if o.Errors != 0 || o.Requests == 0 || o.Bytes != o.Requests*int64(len(long)) {
		t.Errorf("%d requests, %d errors (%s), %d bytes", o.Requests, o.Errors, o.Error, o.Bytes)
	}
}

func TestLoadSendsTheETagOfTheSubject(t *testing.T) {
	var wrong atomic.Int64
	j := flagsOf(20)
	j.Conditional = true
	o := underLoad(t, j, func(w http.ResponseWriter, r *http.Request) {
		etag := `"` + r.URL.Query().Get("subject_id") + `"`
		w.Header().Set("ETag", etag)
		switch r.Header.Get("If-None-Match") {
		case etag:
			w.WriteHeader(http.StatusNotModified)
		case "":
			_, _ = w.Write([]byte("once"))
		default:
			wrong.Add(1)
		}
	})
	if o.Errors != 0 || o.Requests == 0 || o.Bytes != 0 || wrong.Load() != 0 {
		t.Errorf("%d requests, %d errors (%s), %d bytes, %d with another subject's ETag", o.Requests, o.Errors, o.Error, o.Bytes, wrong.Load())
	}
}

func TestLoadSendsBatches(t *testing.T) {
	var wrong atomic.Int64
	j := job{Method: "POST", Path: "/v1/subjects/flags", Body: `{"subject_ids":[{ids}]}`, IDs: 3, Subjects: 1e7}
	o := underLoad(t, j, func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			IDs []string `json:"subject_ids"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.IDs) != 3 ||
			body.IDs[0] == body.IDs[1] && body.IDs[1] == body.IDs[2] {
			wrong.Add(1)
		}
	})
	if o.Errors != 0 || o.Requests == 0 || wrong.Load() != 0 {
		t.Errorf("%d requests, %d errors (%s), %d wrong bodies", o.Requests, o.Errors, o.Error, wrong.Load())
	}
}

func TestLoadCountsErrors(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"broken":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if o := underLoad(t, flagsOf(20), handler); o.Requests == 0 || o.Errors != o.Requests || o.Error == "" {
			t.Errorf("%s: %d requests, %d errors, example %q", name, o.Requests, o.Errors, o.Error)
		}
	}
}

func TestLoadKeepsItsRateAndLimit(t *testing.T) {
	nothing := func(http.ResponseWriter, *http.Request) {}
	j := flagsOf(20)
	j.Limit, j.Duration = 40, time.Minute
	if o := underLoad(t, j, nothing); o.Requests != 40 {
		t.Errorf("%d requests with a limit of 40", o.Requests)
	}
	// A machine may be too slow for a rate, so only that it is not exceeded is
	// certain: the first requests of four connections, and those that follow.
	j = flagsOf(20)
	j.Rate, j.Duration = 100, 200*time.Millisecond
	if o := underLoad(t, j, nothing); o.Requests == 0 || o.Requests > 24 {
		t.Errorf("%d requests in 0.2 s at 100 a second", o.Requests)
	}
}

func TestDigits(t *testing.T) {
	id := []byte(subjectID(0))
	for _, i := range []int{7, 12345678, 0, 9_999_999} {
		if putDigits(id[len(idPrefix):], i); string(id) != subjectID(i) {
			t.Errorf("digits of %d make %q, want %q", i, id, subjectID(i))
		}
	}
}
