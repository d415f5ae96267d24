package dev_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/dev"
	"github.com/flaggery/flaggery/pkg/model"
)

// running is a running dev.
type running struct {
	admin, edge string // URLs
	screen      string
	stop        func()
}

func start(t *testing.T, dir string, args ...string) running {
	t.Helper()
	var c dev.Config
	fs := flag.NewFlagSet("dev", flag.ContinueOnError)
	c.Flags(fs)
	if err := fs.Parse(append([]string{"--data-dir", dir, "--port", "0", "--edge-port", "0"}, args...)); err != nil {
		t.Fatal(err)
	}
	var (
		r    running
		text bytes.Buffer
	)
	ready := make(chan struct{})
	c.Out = &text
	c.Ready = func(admin, edge string) {
		r.admin, r.edge, r.screen = admin, edge, text.String()
		close(ready)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- dev.Run(ctx, c) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("dev ended at its start: %v", err)
	}
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("dev ended with %v", err)
		}
		ended <- nil // for the next one
	}
	t.Cleanup(r.stop)
	return r
}

// call returns the status, the revision and the body of an answer.
func call(t *testing.T, method, url, token, body string) (status int, revision, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Flaggery-Revision"), string(text)
}

func flags(t *testing.T, edge, subject string) map[string]string {
	t.Helper()
	status, _, answer := call(t, "GET", edge+"/v1/subject/flags?subject_id="+subject, "", "")
	var got struct{ Flags map[string]string }
	if err := json.Unmarshal([]byte(answer), &got); status != 200 || err != nil {
		t.Fatalf("flags of %s: status %d, error %v, answer %s", subject, status, err, answer)
	}
	return got.Flags
}

func TestDataAndTokenAreKeptBetweenStarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	r := start(t, dir)
	got := flags(t, r.edge, "42")
	if got["checkout.one-page"] != "B" || got["search.semantic"] != "C" || got["mobile.push-digest"] != model.DisablingVariant {
		t.Errorf("subject 42 gets %v of the sample data", got)
	}
	info, err := os.Stat(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the token's file has mode %v", info.Mode())
	}
	text, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(text))
	for _, want := range []string{token, "console   " + r.admin + "/ ", r.edge, "postgres://", "subject_id=42", "/explain", dir, "--token-file " + filepath.Join(dir, "token")} {
		if !strings.Contains(r.screen, want) {
			t.Errorf("the screen does not show %s:\n%s", want, r.screen)
		}
	}
	status, revision, answer := call(t, "PATCH", r.admin+"/v1/features/ui.density/rollout?wait=5s", token, `{"proportion": 1}`)
	if status != 200 {
		t.Fatalf("status %d, answer %s", status, answer)
	}
	if got := flags(t, r.edge, "acct-12345")["ui.density"]; got != "compact" {
		t.Errorf("a rollout to everybody gives a subject %q", got)
	}
	r.stop()

	r = start(t, dir, "--empty")
	if !strings.Contains(r.screen, "--empty has no effect: "+dir) {
		t.Errorf("the screen does not say why there is data:\n%s", r.screen)
	}
	if got := flags(t, r.edge, "acct-12345")["ui.density"]; got != "compact" {
		t.Errorf("after a restart a subject gets %q", got)
	}
	if _, now, _ := call(t, "GET", r.admin+"/v1/buckets", token, ""); now != revision {
		t.Errorf("revision %s after a restart, %s before", now, revision)
	}
}

func TestSampleHasEveryStateAndAPast(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), "--admin-token", "mine")
	now := time.Now()
	read := func(path string, into any) {
		t.Helper()
		status, _, answer := call(t, "GET", r.admin+path, "mine", "")
		if status != 200 {
			t.Fatalf("%s: status %d, answer %s", path, status, answer)
		}
		if err := json.Unmarshal([]byte(answer), into); err != nil {
			t.Fatal(err)
		}
	}
	states := map[model.FeatureState]int{}
	for _, archived := range []string{"false", "true"} {
		var page api.Page[api.FeatureSummary]
		read("/v1/features?view=summary&archived="+archived, &page)
		for _, f := range page.Items {
			states[f.State]++
		}
	}
	for _, state := range []model.FeatureState{
		model.StateDefault, model.StateRolling, model.StateTesting, model.StateEveryone, model.StateOff, model.StateArchived,
	} {
		if states[state] == 0 {
			t.Errorf("no feature has the state %s", state)
		}
	}
	var tests api.Page[api.ABTest]
	read("/v1/abtests", &tests)
	found := map[model.TestState]bool{}
	for _, test := range tests.Items {
		found[test.State] = true
	}
	if len(found) != 3 {
		t.Errorf("tests have the states %v, want scheduled, live and ended", found)
	}

	var audit api.Page[api.AuditEntry]
	read("/v1/audit?limit=1000", &audit)
	actors := map[string]bool{}
	for i, entry := range audit.Items {
		actors[entry.Actor] = true
		if i > 0 && entry.Revision != audit.Items[i-1].Revision && !entry.At.Before(audit.Items[i-1].At) {
			t.Errorf("revision %d was made at %s, the next one at %s", entry.Revision, entry.At, audit.Items[i-1].At)
		}
	}
	first, last := audit.Items[len(audit.Items)-1].At, audit.Items[0].At
	if len(actors) < 5 || now.Sub(first) < 7*24*time.Hour || now.Sub(last) > 24*time.Hour || last.After(now) {
		t.Errorf("%d actors made changes from %s to %s", len(actors), first, last)
	}

	ago := func(days float64) string {
		return now.Add(-time.Duration(days * 24 * float64(time.Hour))).UTC().Format(time.RFC3339)
	}
	for _, c := range []struct {
		feature  string
		daysAgo  float64
		reason   string
		variants []string
	}{
		{"billing.dunning-mails", 15.4, "default", []string{"A"}},
		{"billing.dunning-mails", 0, "default", []string{"C"}},
		{"search.semantic", 18, "abtest", []string{"A", "B"}},
		{"search.semantic", 17, "override", []string{"C"}},
		{"editor.offline", 10, "abtest", []string{"A", "B"}},
		{"editor.offline", 3, "default", []string{"A"}},
		{"mobile.push-digest", 12, "abtest", []string{"morning", "evening"}},
		{"mobile.push-digest", 3, "off", []string{model.DisablingVariant}},
		{"ai.summaries", 0.5, "off", []string{model.DisablingVariant}},
	} {
		var explained api.Explanation
		read("/v1/subjects/42/explain?at="+ago(c.daysAgo), &explained)
		got := explained.Features[c.feature]
		if got.Variant == nil || got.Reason == nil || *got.Reason != c.reason || !slices.Contains(c.variants, *got.Variant) {
			text, _ := json.Marshal(got)
			t.Errorf("%s %.1f days ago: got %s, want %s by %s", c.feature, c.daysAgo, text, c.variants, c.reason)
		}
	}
	if status, _, _ := call(t, "GET", r.admin+"/v1/subjects/northwind-logistics/explain?at="+ago(15), "mine", ""); status != 404 {
		t.Errorf("a subject that joined later has the status %d", status)
	}
	for daysAgo, want := range map[float64]float64{15: 0.05, 8: 0.1, 3: 0.25, 0: 0.25} {
		var shares api.Shares
		read("/v1/features/checkout.one-page/shares?at="+ago(daysAgo), &shares)
		var others, rollout float64 // overridden subjects would have been part of both
		for _, step := range shares.Steps {
			switch step.Step {
			case "rollout":
				rollout = float64(step.Weight)
			case "default":
				others = float64(step.Weight)
			}
		}
		// Shares are by today's weights, two of which were added after the first moments. The
		// rollout of that moment held on until after they came.
		for _, added := range []struct {
			id                  string
			daysAgo, at, weight float64
		}{{"northwind-logistics", 12.1, 12, 8900}, {"globex-retail", 7.6, daysAgo, 9200 - 7300}} {
			if daysAgo < added.daysAgo {
				continue
			}
			var explained api.Explanation
			read("/v1/subjects/"+added.id+"/explain?at="+ago(added.at), &explained)
			switch *explained.Features["checkout.one-page"].Reason {
			case "rollout":
				rollout -= added.weight
			case "default":
				others -= added.weight
			}
		}
		if got := rollout / (rollout + others); math.Abs(got-want) > 0.02 {
			t.Errorf("checkout.one-page had %.3f of the weight %.0f days ago, want about %.2f", got, daysAgo, want)
		}
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), "--empty", "--admin-token", "mine", "--environment", "branch-7")
	status, revision, answer := call(t, "GET", r.admin+"/v1/features", "mine", "")
	if status != 200 || revision != "0" || !strings.Contains(answer, `"items":[]`) {
		t.Errorf("status %d, revision %s, answer %s", status, revision, answer)
	}
	if !strings.Contains(r.screen, "Bearer mine") || !strings.Contains(r.screen, "console leads") || strings.Contains(r.screen, "--token-file") {
		t.Errorf("the screen does not fit an empty start:\n%s", r.screen)
	}
	if _, _, answer := call(t, "GET", r.admin+"/v1/about", "mine", ""); !strings.Contains(answer, `"environment":"branch-7","colour":"seagreen"`) {
		t.Errorf("answer %s", answer)
	}
}

func TestFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	c := dev.Config{Port: 70000, EdgePort: -1, Environment: " ", Colour: "?"}
	err := dev.Run(t.Context(), c)
	for _, want := range []string{"--data-dir", "--port", "--edge-port", "(--environment)", "(--environment-colour)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want it to name %s", err, want)
		}
	}
}

func TestFolderInUseIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir, "--empty")
	if err := dev.Run(t.Context(), dev.Config{DataDir: dir}); err == nil || !strings.HasPrefix(err.Error(), "--data-dir: start PostgreSQL in "+dir) {
		t.Errorf("got error %v", err)
	}
}

func TestPortsInUseAreNamed(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	for flag, config := range map[string]dev.Config{"--port": {Port: port}, "--edge-port": {EdgePort: port}} {
		config.DataDir, config.Host = dir, "127.0.0.1"
		if err := dev.Run(t.Context(), config); err == nil || !strings.HasPrefix(err.Error(), flag+": listen tcp "+busy.Addr().String()) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
