package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestProxies has nginx and HAProxy, as deploy/proxy sets them up, stand before both
// services.
func TestProxies(t *testing.T) {
	t.Parallel()
	adminURL, edgeURL := startFlaggery(t)
	for name, c := range map[string]struct {
		file string
		args func(dir, config string) []string
	}{
		"nginx": {"../proxy/nginx.conf", func(dir, config string) []string {
			whole := filepath.Join(dir, "nginx.conf")
			text := fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr; events {} http { access_log off; client_body_temp_path %[1]s/body;
				proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi; include %[2]s; }`, dir, config)
			if err := os.WriteFile(whole, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"-p", dir, "-e", "stderr", "-c", whole}
		}},
		"haproxy": {"../proxy/haproxy.cfg", func(_, config string) []string { return []string{"-db", "-f", config} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin, edge := counted(t, adminURL), counted(t, edgeURL)
			text, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			address := freeAddress(t)
			dir := t.TempDir()
			config := filepath.Join(dir, filepath.Base(c.file)+".included")
			if err := os.WriteFile(config, []byte(strings.NewReplacer(
				"listen 80;", "listen "+address+";", "bind :80", "bind "+address,
				"127.0.0.1:8080", admin.address, "127.0.0.1:8081", edge.address,
			).Replace(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			start(t, exec.Command(installed(t, name), c.args(dir, config)...))
			p := proxied{t, address}
			p.await("flags.example.com", "/readyz")
			p.await("flags-edge.example.com", "/readyz")

			before := edge.connections.Load()
			for range 50 {
				p.ask("GET", "flags-edge.example.com", "/v1/subject/flags?subject_id=42", nil, "", http.StatusOK)
			}
			if n := edge.connections.Load() - before; n > 5 {
				t.Errorf("50 requests made %d connections to the edge", n)
			}

			feature := `{"name": "` + name + `"}`
			p.ask("POST", "flags.example.com", "/v1/features", nil, feature, http.StatusCreated)
			found := p.ask("GET", "flags.example.com", "/v1/features/"+name, http.Header{"Accept-Encoding": {"gzip"}}, "", http.StatusOK)
			tag := found.Get("ETag")
			p.ask("DELETE", "flags.example.com", "/v1/features/"+name, http.Header{"If-Match": {"W/" + tag}}, "", http.StatusPreconditionFailed)
			p.ask("DELETE", "flags.example.com", "/v1/features/"+name, http.Header{"If-Match": {tag}}, "", http.StatusNoContent)
		})
	}
}

// installed returns the path of a program, also in Debian's directories outside of PATH.
func installed(t *testing.T, name string) string {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	found, err := exec.LookPath("/usr/sbin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func freeAddress(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return free.Addr().String()
}

// start runs a proxy, which ends with the test.
func start(t *testing.T, command *exec.Cmd) {
	t.Helper()
	var log strings.Builder
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // nginx's workers would outlive SIGKILL
		_ = command.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

// counter stands before a service and counts the connections that a proxy makes.
type counter struct {
	address     string
	connections atomic.Int64
}

func counted(t *testing.T, service string) *counter {
	t.Helper()
	target, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{}
	s := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(target))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c.address = s.Listener.Addr().String()
	return c
}

// proxied asks through a proxy.
type proxied struct {
	t       *testing.T
	address string
}

func (p proxied) do(method, host, path string, header http.Header, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	r.Host = host
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(r)
}

// await returns once the proxy listens and finds the service ready.
func (p proxied) await(host, path string) {
	p.t.Helper()
	for p.t.Context().Err() == nil {
		if answer, err := p.do("GET", host, path, nil, ""); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
	}
}

func (p proxied) ask(method, host, path string, header http.Header, body string, want int) http.Header {
	p.t.Helper()
	answer, err := p.do(method, host, path, header, body)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != want {
		p.t.Fatalf("%s %s%s: %s, %v: %s", method, host, path, answer.Status, err, text)
	}
	if answer.Header.Get("Content-Encoding") == "" && len(text) > 0 && !json.Valid(text) {
		p.t.Fatalf("%s %s%s is no JSON: %s", method, host, path, text)
	}
	return answer.Header
}
