package admin

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/web"
)

func TestConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	config := Config{DBURL: "mysql://user:hunter2@db/flaggery", Port: 65536, Token: "with a space"}
	err := Run(t.Context(), config)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"FLAGGERY_DB_URL", "postgres://", "FLAGGERY_PORT", "65536", "FLAGGERY_ADMIN_TOKEN"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "with a space") {
		t.Errorf("tells a secret: %v", err)
	}
}

// Who looks at an installation knows which one it is.
func TestInstallation(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		installation Installation
		want         string // the setting at fault, "" for none
	}{
		{Installation{}, ""},
		{Installation{"Production EU", "#D55e00", "staging=http://127.0.0.1:8090/, Production EU=https://flags.example.com", "https://flags.example.com/eu", 0.25}, ""},
		{Installation{"staging", "RebeccaPurple", "", "http://edge:8081", 0}, ""},
		{Installation{Colour: "#fff"}, ""},
		{Installation{Environments: "staging"}, "FLAGGERY_ENVIRONMENTS (--environments) must be pairs of name=URL, separated by commas: pair 1 has no ="},
		{Installation{Environments: "a=http://a,"}, "pair 2 has no ="},
		{Installation{Environments: "=http://a"}, `FLAGGERY_ENVIRONMENTS (--environments) has the name "": it must not be empty`},
		{Installation{Environments: "a =http://a"}, `has the name "a ": it must not begin or end with a space`},
		{Installation{Environments: "a=http://a,a=http://b"}, `FLAGGERY_ENVIRONMENTS (--environments) has the name "a" twice`},
		{Installation{Environments: "a=http://a,staging=https://me:hunter2@b"}, `FLAGGERY_ENVIRONMENTS (--environments) must have a URL like https://flags.example.com for "staging"`},
		{Installation{Environments: "a=a.example.com"}, `for "a"`},
		{Installation{Environments: "a=javascript://a"}, `for "a"`},
		{Installation{Environments: "a=https://:8080"}, `for "a"`},
		{Installation{Environments: "a=https://a/path"}, `for "a"`},
		{Installation{Environments: "a=https://a?b=c"}, `for "a"`},
		{Installation{Environments: "a=https://" + strings.Repeat("a", 1<<10)}, `for "a"`},
		{Installation{Environments: strings.Repeat("a=https://a,", 17) + "b=https://b"}, "must be at most 16 pairs of name=URL, are 18"},
		{Installation{Environment: " production"}, "FLAGGERY_ENVIRONMENT (--environment) must not begin or end with a space"},
		{Installation{Environment: web.Environment(strings.Repeat("x", 129))}, "at most 128 bytes, has 129"},
		{Installation{Environment: "a\u202eb"}, "U+202E"},
		{Installation{Colour: "gren"}, `FLAGGERY_ENVIRONMENT_COLOUR (--environment-colour) must be a CSS colour, such as orange, #rgb or #rrggbb, is "gren"`},
		{Installation{Colour: "#ff00"}, "FLAGGERY_ENVIRONMENT_COLOUR"},
		{Installation{Colour: "#ggg"}, "FLAGGERY_ENVIRONMENT_COLOUR"},
		{Installation{Colour: "red;background:url(//evil)"}, "FLAGGERY_ENVIRONMENT_COLOUR"},
		{Installation{Colour: "red blue"}, "FLAGGERY_ENVIRONMENT_COLOUR"},
		{Installation{EdgeURL: "edge:8081"}, "FLAGGERY_EDGE_URL (--edge-url) must be a URL like"},
		{Installation{EdgeURL: "javascript://edge/"}, "FLAGGERY_EDGE_URL"},
		{Installation{EdgeURL: "https://me:hunter2@edge"}, "FLAGGERY_EDGE_URL"},
		{Installation{EdgeURL: "https://edge?a=b"}, "FLAGGERY_EDGE_URL"},
	} {
		config := Config{DBURL: "postgres://db/flaggery", Token: testToken, Installation: row.installation}
		err := config.Validate()
		if (err == nil) != (row.want == "") || err != nil && (!strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%+v: %v, want %q", row.installation, err, row.want)
		}
	}
}

func TestFirstTokenIsLong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		config Config
		valid  bool
	}{
		{Config{Token: "a"}, false},
		{Config{Token: "12345678901234567890123"}, false},
		{Config{Token: "123456789012345678901234"}, true},
		{Config{Token: "a", AnyToken: true}, true},
		{Config{}, true},
	} {
		row.config.DBURL = "postgres://db/flaggery"
		err := row.config.Validate()
		if (err == nil) != row.valid {
			t.Errorf("%d characters: %v", len(row.config.Token), err)
		}
		if err != nil && (!strings.Contains(err.Error(), "FLAGGERY_ADMIN_TOKEN") || !strings.Contains(err.Error(), "at least 24") ||
			!strings.Contains(err.Error(), "openssl rand") || strings.Contains(err.Error(), "1234")) {
			t.Errorf("says %v", err)
		}
	}
}

func TestRunFailsClearly(t *testing.T) {
	t.Parallel()
	good := pgtest.Open(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, row := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"no PostgreSQL", Config{DBURL: "postgres://user:hunter2@127.0.0.1:1/flaggery"}, []string{"connect to the database postgres://user:***@127.0.0.1:1/flaggery", "connection refused"}},
		{"no such database", Config{DBWait: true, DBURL: withDatabase(t, good, "nowhere")}, []string{"the database does not exist", "nowhere"}},
		{"no such user", Config{DBWait: true, DBURL: withUser(t, good, "nobody", "hunter2")}, []string{"connect to the database", "nobody:***"}},
		{"no schema", Config{DBWait: true, DBURL: command.DatabaseURL(pgtest.Empty(t))}, []string{"schema is at version 0", "migrate up"}},
		{"port in use", Config{DBURL: command.DatabaseURL(good), Port: busy.Addr().(*net.TCPAddr).Port}, []string{"listen", strconv.Itoa(busy.Addr().(*net.TCPAddr).Port), "in use"}},
	} {
		row.config.Host, row.config.Token, row.config.Logger = "127.0.0.1", testToken, slog.New(slog.DiscardHandler)
		err := Run(t.Context(), row.config)
		if err == nil {
			t.Errorf("%s: no error", row.name)
			continue
		}
		for _, want := range row.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: does not say %q: %v", row.name, want, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: tells the password: %v", row.name, err)
		}
	}
}

func withDatabase(t *testing.T, dbURL, name string) command.DatabaseURL {
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return command.DatabaseURL(u.String())
}

func withUser(t *testing.T, dbURL, name, password string) command.DatabaseURL {
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return command.DatabaseURL(u.String())
}

func TestAutoUpgrade(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Run(ctx, Config{
		DBURL: command.DatabaseURL(pgtest.Empty(t)), DBAutoUpgrade: true, Host: "127.0.0.1", Token: testToken,
		Logger: slog.New(slog.DiscardHandler), Ready: func(net.Addr) { cancel() },
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTwoAdminsOnOneDatabase(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	one, two := startOn(t, dbURL), startOn(t, dbURL)
	one.must("POST", "/v1/features", `{"name": "foobar"}`)
	if got := two.must("PATCH", "/v1/features/foobar", `{"description": "d"}`).Header.Get(api.HeaderRevision); got != "2" {
		t.Errorf("revision %s", got)
	}
	one.do("GET", "/v1/features/foobar", nil).is(200, `{"name": "foobar", "description": "d", "tags": [], "variants": [], "default_variant": null, "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 2}`)
}

// Without its database an admin is alive, not ready, and says so of every call.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	a := newTestService(t) // its database does not answer
	l, err := a.web.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.web.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c := client{t, "http://" + l.Addr().String(), testToken}
	c.must("GET", "/healthz", nil)
	c.do("GET", "/readyz", nil).isProblem(503, model.NotReady, "")
	// That nobody can tell whose token it is does not make it a wrong one.
	client{t, c.url, auth.NewToken()}.do("GET", "/v1/features", nil).isProblem(503, model.NotReady, "")
	if p := c.do("GET", "/v1/features", nil).isProblem(503, model.NotReady, ""); strings.Contains(p.Detail, "127.0.0.1") {
		t.Errorf("tells where the database is: %s", p.Detail)
	}
	if p := c.do("POST", "/v1/features", `{"name": "f"}`); p.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
