package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A reference sends what it recorded, whether the answer has a body or not.
func TestReferenceRepeatsTheAnswer(t *testing.T) {
	original := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"`+r.URL.Query().Get("subject_id")+`"`)
		w.Header().Set("Flaggery-Revision", "7")
		if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(`{"flags":{}}`))
	}))
	defer original.Close()
	for _, conditional := range []bool{false, true} {
		j := flagsOf(1000)
		j.Addr, j.Conditional = original.Listener.Addr().String(), conditional
		first, err := record(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if (first.Status == http.StatusNotModified) != conditional {
			t.Fatalf("conditional %v: recorded status %d", conditional, first.Status)
		}
		for _, subjects := range []int{0, 1000} {
			r := reference{Answer: first, Subjects: subjects}
			copied := httptest.NewServer(r.handler())
			defer copied.Close()
			again, err := exchange(t.Context(), copied.Listener.Addr().String(), newWorker(&j, 1).next())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("conditional %v, %d subjects: the copy differs (-original +copy):\n%s", conditional, subjects, diff)
			}
		}
	}
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	j := flagsOf(1000)
	j.Addr = missing.Listener.Addr().String()
	if _, err := record(t.Context(), j); err == nil {
		t.Error("an answer of 404 was recorded")
	}
}
