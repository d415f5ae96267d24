package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// buildPrometheus makes promtool, prometheus and amtool, once. They can find their targets
// by name or by list alone, which saves most of their code.
var buildPrometheus = sync.OnceValue(func() error {
	const repository = "github.com/prometheus/prometheus/cmd/"
	c := exec.Command("go", "build", "-tags=remove_all_sd,enable_dns_sd", "-o", tools, repository+"promtool", repository+"prometheus", "github.com/prometheus/alertmanager/cmd/amtool")
	c.Stderr = os.Stderr
	return c.Run()
})

func prometheusProgram(t *testing.T, name string) string {
	t.Helper()
	if err := buildPrometheus(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(tools, name)
}

func TestRules(t *testing.T) {
	t.Parallel()
	promtool := prometheusProgram(t, "promtool")
	output(t, promtool, "check", "rules", "--lint=all", "--lint-fatal", "../helm/flaggery/rules.yml")
	output(t, promtool, "test", "rules", "testdata/rules_test.yml")
	output(t, promtool, "check", "config", "--syntax-only", "../compose/prometheus.yml")
	output(t, promtool, "check", "config", "--syntax-only", "../prometheus.yml")
}

func TestRouting(t *testing.T) {
	t.Parallel()
	amtool := prometheusProgram(t, "amtool")
	output(t, amtool, "check-config", "../alertmanager.yml")
	for severity, receiver := range map[string]string{"critical": "on-call", "warning": "chat"} {
		output(t, amtool, "config", "routes", "test", "--config.file=../alertmanager.yml", "--verify.receivers="+receiver, "severity="+severity)
	}
}

// TestEveryRuleIsTested reads the file of tests as text: each alert is named there.
func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	tests, err := os.ReadFile("testdata/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../helm/flaggery/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)- (?:alert|record): (\S+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(tests), match[1]) && !strings.Contains(match[1], "p99_5m") {
			t.Errorf("no test of rules names %s", match[1])
		}
		if strings.HasPrefix(match[1], "Flaggery") && !strings.Contains(string(runbook), match[1]) {
			t.Errorf("docs/operations.md does not say what to do about %s", match[1])
		}
	}
}

// TestInhibition reads deploy/alertmanager.yml with Alertmanager's own types.
func TestInhibition(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var config struct {
		Rules []common.InhibitRule `yaml:"inhibit_rules"`
	}
	if err := yaml.NewDecoder(file).Decode(&config); err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../helm/flaggery/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	alert := func(name, job string) model.LabelSet {
		if !strings.Contains(string(rules), "alert: "+name+"\n") {
			t.Errorf("there is no alert %s", name)
		}
		return model.LabelSet{"alertname": model.LabelValue(name), "job": model.LabelValue(job)}
	}
	const admin, edge = "flaggery-admin", "flaggery-edge"
	for _, c := range []struct {
		source, target model.LabelSet
		want           bool
	}{
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryAdminDown", admin), true},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryEdgeStale", edge), true},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryErrors", admin), true},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryErrors", edge), false},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryWritesFailing", ""), true},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryImportFailing", ""), true},
		{alert("FlaggeryDatabaseAway", ""), alert("FlaggeryNoEdge", edge), false},
		{alert("FlaggeryErrors", admin), alert("FlaggeryWritesFailing", ""), true},
		{alert("FlaggeryErrors", edge), alert("FlaggeryWritesFailing", ""), false},
		{alert("FlaggeryNoEdge", edge), alert("FlaggeryEdgeDown", edge), true},
		{alert("FlaggeryEdgeStale", edge), alert("FlaggeryEdgeAway", ""), true},
		{alert("FlaggeryEdgeDown", edge), alert("FlaggeryEdgeAway", ""), true},
		{alert("FlaggeryEdgeAway", ""), alert("FlaggeryEdgeStale", edge), false},
		{alert("FlaggeryNotificationsLost", edge), alert("FlaggeryPropagationSlow", ""), true},
		{alert("FlaggeryPropagationSlow", ""), alert("FlaggeryNotificationsLost", edge), false},
	} {
		inhibited := slices.ContainsFunc(config.Rules, func(rule common.InhibitRule) bool {
			return labels.Matchers(rule.SourceMatchers).Matches(c.source) && labels.Matchers(rule.TargetMatchers).Matches(c.target)
		})
		if inhibited != c.want {
			t.Errorf("%v inhibits %v: %v, want %v", c.source, c.target, inhibited, c.want)
		}
	}
}

const token = "token-of-a-test"

// TestSeries has a real Prometheus scrape both programs, and asks it everything
// that the rules, the dashboards and docs/environments.md ask.
func TestSeries(t *testing.T) {
	t.Parallel()
	admin, edge := startFlaggery(t)
	p := startPrometheus(t, admin, edge)

	queries := map[string]bool{}
	dashboards, err := filepath.Glob("../helm/flaggery/dashboards/*.json")
	if err != nil || len(dashboards) != 3 {
		t.Fatalf("found dashboards %v, %v", dashboards, err)
	}
	for _, file := range dashboards {
		for _, query := range dashboardQueries(t, file) {
			queries[query] = true
		}
	}
	page, err := os.ReadFile("../../docs/environments.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		queries[match[1]] = true
	}
	// What is asked for appears with traffic that goes on, and changes.
	deadline := time.After(time.Minute)
	for again := time.Tick(500 * time.Millisecond); ; {
		traffic(t, admin, edge)
		for query := range queries {
			if p.answers(t, query) {
				delete(queries, query)
			}
		}
		if len(queries) == 0 {
			break
		}
		select {
		case <-again:
		case <-deadline:
			for query := range queries {
				t.Errorf("no series answers %s", query)
			}
			return
		}
	}
	p.rulesWork(t)
}

// startFlaggery runs flaggery-admin dev and returns the URLs of both services.
func startFlaggery(t *testing.T) (admin, edge string) {
	t.Helper()
	// Not below t.TempDir, which the user that runs PostgreSQL for root cannot enter.
	dir, err := os.MkdirTemp("", "flaggery-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program(t, "flaggery-admin"), "dev", "--port=0", "--edge-port=0", "--data-dir="+filepath.Join(dir, "data"))
	command.Env = append(os.Environ(), "FLAGGERY_ADMIN_TOKEN="+token)
	screen := run(t, command)
	found := map[string]string{}
	line := regexp.MustCompile(`(?m)^\s+(console|edge)\s+(http://[^/\s]+)`)
	for len(found) < 2 {
		text, ok := <-screen
		if !ok {
			t.Fatal("flaggery-admin dev ended")
		}
		for _, match := range line.FindAllStringSubmatch(text, -1) {
			found[match[1]] = match[2]
		}
	}
	return found["console"], found["edge"]
}

// run starts a program that is stopped when the test ends, and returns its output
// line by line, as far as anybody reads it.
func run(t *testing.T, command *exec.Cmd) <-chan string {
	t.Helper()
	lines := make(chan string, 100)
	var all bytes.Buffer
	read, write := io.Pipe()
	command.Stdout, command.Stderr = write, write
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		buffer := make([]byte, 64<<10)
		for {
			n, err := read.Read(buffer)
			all.Write(buffer[:n])
			select {
			case lines <- string(buffer[:n]):
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		err := command.Wait()
		write.Close()
		<-done
		if err != nil || t.Failed() {
			t.Errorf("%s: %v\n%s", filepath.Base(command.Path), err, all.String())
		}
	})
	return lines
}

// traffic is a change, an import and a few requests.
func traffic(t *testing.T, admin, edge string) {
	t.Helper()
	request := func(method, url, contentType, body string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", contentType)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != want {
			text, _ := io.ReadAll(answer.Body)
			t.Fatalf("%s %s: %s: %s", method, url, answer.Status, text)
		}
	}
	request("POST", admin+"/v1/import/subjects", "application/x-ndjson", `{"id": "new", "weight": 2}`+"\n", http.StatusOK)
	request("PUT", fmt.Sprintf("%s/v1/subjects/new?wait=5s", admin), "application/json", fmt.Sprintf(`{"weight": %d}`, 3+time.Now().UnixNano()%1000), http.StatusOK)
	request("GET", admin+"/v1/features", "", "", http.StatusOK)
	request("GET", edge+"/v1/subject/flags?subject_id=42", "", "", http.StatusOK)
}

type server struct{ url string }

// startPrometheus returns one that scrapes both, with our rules.
func startPrometheus(t *testing.T, admin, edge string) server {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("../helm/flaggery/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: flaggery-admin
    authorization: {credentials: %s}
    static_configs: [{targets: [%q]}]
  - job_name: flaggery-edge
    static_configs: [{targets: [%q]}]
`, rules, token, strings.TrimPrefix(admin, "http://"), strings.TrimPrefix(edge, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	log := run(t, exec.Command(prometheusProgram(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address))
	for text := range log {
		if strings.Contains(text, "Server is ready to receive web requests") {
			return server{"http://" + address}
		}
	}
	t.Fatal("prometheus ended")
	return server{}
}

func (s server) get(t *testing.T, path string, data any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", path, err, answer.Error)
	}
}

func (s server) answers(t *testing.T, query string) bool {
	t.Helper()
	var data struct{ Result []any }
	s.get(t, "/api/v1/query?query="+url.QueryEscape(query), &data)
	return len(data.Result) > 0
}

// rulesWork reports rules that fail to be evaluated, records that record nothing,
// and alerts that come although all is well.
func (s server) rulesWork(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Query, Health, LastError, State string }
		}
	}
	s.get(t, "/api/v1/rules", &data)
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" || rule.State == "firing" {
				t.Errorf("rule %s: health %s %s, state %s", rule.Name, rule.Health, rule.LastError, rule.State)
			}
			if rule.State == "" && !s.answers(t, rule.Name) {
				t.Errorf("rule %s records nothing", rule.Name)
			}
			// What an alert compares must be there: without the comparison it has an answer.
			if left := comparison.Split(rule.Query, 2)[0]; rule.State != "" && !strings.HasPrefix(left, "absent") && !s.answers(t, left) {
				t.Errorf("alert %s: no series answers %s", rule.Name, left)
			}
		}
	}
}

var comparison = regexp.MustCompile(` (?:==|>|<) `)

// dashboardQueries are what the panels of a dashboard ask for, as Grafana would fill
// it in.
func dashboardQueries(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$__interval", "10s", "$feature", ".*")
	var queries []string
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("%s: panel %q asks for nothing", file, panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	return queries
}
