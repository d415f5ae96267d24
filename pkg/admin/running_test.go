package admin

import (
	"database/sql"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/web"
)

// connectAs opens the database under the name that an edge reports, or another one.
func connectAs(t *testing.T, dbURL, applicationName string) *sql.DB {
	t.Helper()
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", applicationName)
	u.RawQuery = query.Encode()
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAbout(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL, func(c *Config) {
		c.Installation = Installation{
			Environment: "production", Colour: "#d55e00", EdgeURL: "https://flags.example.com",
			Environments: "staging=http://127.0.0.1:8090/, production=https://flags.example.com,qa 2=https://qa.example.com:8443",
		}
	})
	const others = `{"name":"staging","url":"http://127.0.0.1:8090/"},{"name":"qa 2","url":"https://qa.example.com:8443"}`
	const installation = `"environment": "production", "environments": [` + others + `], "colour": "#d55e00", "version": "test", "edge_url": "https://flags.example.com"`
	c.do("GET", "/v1/about", nil).is(200, `{`+installation+`, "subjects": 0, "total_weight": 0, "buckets": 0, "features": 0, "groups": 0,
		"tests": {"live": 0, "scheduled": 0}, "heaviest_subject": null, "heaviest_bucket": null, "lightest_bucket": null}`)
	populate(c)
	c.must("POST", "/v1/features/empty/archive", nil)
	c.must("POST", "/v1/abtests", abTest("soon", "2100", "2101", "foobar"))
	c.must("POST", "/v1/abtests", abTest("over", "2019", "2020", "foobar"))
	c.must("PUT", "/v1/subjects/42", `{"weight": 7}`)
	c.must("POST", "/v1/subjects", `{"id": "41", "weight": 7}`)
	c.do("GET", "/v1/about", nil).is(200, `{`+installation+`, "subjects": 3, "total_weight": 15, "buckets": 4, "features": 3, "groups": 1,
		"tests": {"live": 1, "scheduled": 1}, "heaviest_subject": {"id": "41", "weight": 7},
		"heaviest_bucket": {"id": 2, "weight": 7, "subjects": 1}, "lightest_bucket": {"id": 4, "weight": 0, "subjects": 0}}`)
	startOn(t, dbURL).do("GET", "/v1/about", nil).is(200, strings.NewReplacer(others, "", "production", "", "#d55e00", "", "https://flags.example.com", "").
		Replace(string(c.must("GET", "/v1/about", nil).Body)))
}

func TestEnvironmentInfo(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	for environment, want := range map[web.Environment]string{"": "", "production": `flaggery_environment_info{environment="production"} 1`} {
		c := startOn(t, dbURL, func(c *Config) { c.Prometheus, c.Installation.Environment = true, environment })
		got := regexp.MustCompile(`(?m)^flaggery_environment_info.*$`).FindString(string(c.must("GET", "/metrics", nil).Body))
		if got != want {
			t.Errorf("%q has the metric %q, want %q", environment, got, want)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.must("POST", "/v1/features", `{"name": "Footer.foo_bar"}`)
	c.must("POST", "/v1/features/foobar/archive", nil)
	c.must("POST", "/v1/groups", `{"name": "best-friends"}`)
	c.must("POST", "/v1/subjects", `{"id": "Foo/%_"}`)
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "{\"id\": \"many-%02d\"}\n", i)
		c.must("POST", "/v1/groups", fmt.Sprintf(`{"name": "few-%02d"}`, i))
	}
	lines.WriteString("{\"id\": \"few-1\"}\n{\"id\": \"few-2\"}\n{\"id\": \"few-3\"}\n{\"id\": \"few-4\"}\n")
	c.must("POST", "/v1/import/subjects", lines.String(), "Content-Type", api.MediaNDJSON)
	for text, want := range map[string]string{
		"":                        "",
		"none":                    "",
		"foo":                     "feature Footer.foo_bar, feature foobar",
		"Foo":                     "subject Foo/%_, feature Footer.foo_bar, feature foobar",
		"foobar":                  "feature foobar",
		"BAR":                     "feature Footer.foo_bar, feature foobar",
		"friend":                  "group friends, group best-friends",
		"live":                    "test live",
		"42":                      "subject 42",
		"any-0":                   "",
		"_":                       "feature Footer.foo_bar",
		"%":                       "",
		`\`:                       "",
		"Foo/%":                   "subject Foo/%_",
		"many-2":                  "subject many-20, subject many-21, subject many-22, subject many-23, subject many-24, subject many-25, subject many-26, subject many-27, subject many-28, subject many-29",
		strings.Repeat("x", 1000): "",
	} {
		var found []api.Found
		c.must("GET", "/v1/search?q="+url.QueryEscape(text), nil).into(&found)
		var got []string
		for _, f := range found {
			got = append(got, f.Kind+" "+f.Name)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	c.do("GET", "/v1/search?q=", nil).is(200, `[]`)
	c.do("GET", "/v1/search", nil).is(200, `[]`)

	// Neither subjects nor groups crowd the other out.
	for text, want := range map[string]int{"many": 20, "few": 4} {
		var found []api.Found
		c.must("GET", "/v1/search?q="+text, nil).into(&found)
		subjects := 0
		for _, f := range found {
			if f.Kind == "subject" {
				subjects++
			}
		}
		if len(found) != 20 || subjects != want {
			t.Errorf("%q finds %d, of which %d are subjects, want %d", text, len(found), subjects, want)
		}
	}
}

// An admin notes which edges there are though nobody asks it, and misses one that is lost.
func TestEdgesAreWatched(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c, db, edge := startOn(t, dbURL), connectAs(t, dbURL, "test"), connectAs(t, dbURL, "flaggery-edge/eu#aaaaaa v1.2.0/1 0")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.After(time.Minute); !is(); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("not " + what)
			}
		}
	}
	await("noted", func() (noted bool) {
		if err := db.QueryRow(`SELECT EXISTS (SELECT FROM edge_seen WHERE name = 'eu')`).Scan(&noted); err != nil {
			t.Fatal(err)
		}
		return noted
	})
	if err := edge.Close(); err != nil {
		t.Fatal(err)
	}
	await("missed", func() bool {
		metrics := string(c.must("GET", "/metrics", nil).Body)
		return strings.Contains(metrics, "\nflaggery_admin_edges{state=\"away\"} 1\n") && strings.Contains(metrics, "\nflaggery_admin_edges{state=\"connected\"} 0\n")
	})
}
