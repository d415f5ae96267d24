package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// consoleRequests is how many requests of a kind are timed.
const consoleRequests = 100

// measureConsole times what the console asks for its pages, one request after the
// other, as one person does.
func (l *lab) measureConsole(ctx context.Context) ([]figure, error) {
	d := l.size.console
	admin, err := l.adminOf(ctx, d)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(3, 4))
	feature := func() string { return featureName(random.IntN(d.features)) }
	var figures []figure
	for _, page := range []struct {
		label string
		path  func() string
		limit limit
	}{
		{"a page of 100 summaries", func() string { return "/v1/features?view=summary&after=" + feature() }, atMost(100)},
		{"the last changed 100", func() string { return "/v1/features?view=summary&sort=changed" }, limit{}},
		{"a page of a stage", func() string { return "/v1/features?view=summary&stage=rolling&after=" + feature() }, limit{}},
		{"`/shares`", func() string { return "/v1/features/" + feature() + "/shares" }, atMost(50)},
		{"the 20 heaviest subjects", func() string { return "/v1/subjects?sort=-weight&limit=20" }, atMost(50)},
		{"the heaviest of a bucket", func() string {
			return fmt.Sprintf("/v1/subjects?sort=-weight&limit=20&bucket=%d", 1+random.IntN(d.bucketCount()))
		}, limit{}},
		{"`/v1/about`", func() string { return "/v1/about" }, atMost(20)},
	} {
		f, err := l.timed(ctx, admin, page.label, func() (method, path, body string) { return http.MethodGet, page.path(), "" })
		if err != nil {
			return nil, err
		}
		f.limit = page.limit
		figures = append(figures, f)
	}
	return figures, nil
}

// measureSlider times dry runs of a rollout's proportion.
func (l *lab) measureSlider(ctx context.Context) ([]figure, error) {
	d := l.size.slider
	admin, err := l.adminOf(ctx, d)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(5, 6))
	f, err := l.timed(ctx, admin, d.String(), func() (method, path, body string) {
		rolled := 1 + 3*random.IntN(d.features/3) // two of three features have a rollout
		return http.MethodPatch, "/v1/features/" + featureName(rolled) + "/rollout?dry_run", fmt.Sprintf(`{"proportion":%.3f}`, random.Float64())
	})
	f.limit = atMost(20)
	return []figure{f}, err
}

// timed is the median of how long requests take, one after the other. The first ones
// do not count.
func (l *lab) timed(ctx context.Context, server *process, label string, next func() (method, path, body string)) (figure, error) {
	l.progress.step(label)
	var took []time.Duration
	for i := range consoleRequests + consoleRequests/10 {
		method, path, body := next()
		start := time.Now()
		if err := ask(ctx, server, method, path, body); err != nil {
			return figure{}, err
		}
		if i >= consoleRequests/10 {
			took = append(took, time.Since(start))
		}
	}
	return figure{
		label: label + ", p50", value: milliseconds(quantile(took, 0.5)), unit: "ms",
		remark: "p95 " + quantity(milliseconds(quantile(took, 0.95)), "ms"),
	}, nil
}

// ask makes one request of an admin and reads the whole answer.
func ask(ctx context.Context, admin *process, method, path, body string) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+admin.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %.300s", method, path, response.StatusCode, answer)
	}
	return err
}
