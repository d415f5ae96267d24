package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func edges() verb {
	var watch bool
	return verb{
		name:    "edges",
		summary: "List the edges and how far behind they are.",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&watch, "watch", false, "list them again whenever one changes, until interrupted")
		},
		run: func(ctx context.Context, c *call) error {
			if !watch {
				return printEdges(ctx, c)
			}
			if err := watchEdges(ctx, c); ctx.Err() == nil {
				return err
			}
			return nil // interrupted
		},
	}
}

func printEdges(ctx context.Context, c *call) error {
	return printList(ctx, c, list[api.Edge]{
		header: []string{"NAME", "STATE", "REVISION", "BEHIND", "VERSION", "SEEN"},
		row: func(e api.Edge) []string {
			return []string{e.Name, orNone(e.State), number(e.Revision), number(e.LagRevisions), orNone(e.Version), moment(&e.LastSeen)}
		},
	}, "edges")
}

// reconnectAfter is the pause between streams, which admins end when they shut down.
const reconnectAfter = time.Second

// watchEdges lists the edges at each event about them, until ctx ends. A stream begins
// with one.
func watchEdges(ctx context.Context, c *call) error {
	if err := c.admin.Ready(ctx); err != nil {
		return err
	}
	for {
		for event, err := range c.admin.Events(ctx, 0) {
			if flaggery.CodeOf(err) != "" || ctx.Err() != nil {
				return err
			}
			if err != nil {
				fmt.Fprintln(c.Stderr, clean(err.Error()))
				continue
			}
			if event.Edges == nil {
				continue
			}
			if isTerminal(c.Stdout) {
				fmt.Fprint(c.Stdout, "\x1b[H\x1b[2J") // clears the screen
			}
			if err := printEdges(ctx, c); err != nil {
				return err
			}
		}
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func audit() verb {
	var feature, resource, actor, since string
	var limit int
	return verb{
		name:    "audit",
		summary: "List who changed what, newest first.",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&feature, "feature", "", "only changes of this `feature`")
			fs.StringVar(&resource, "resource", "", "only changes of this `path` and below it, such as groups/friends")
			fs.StringVar(&actor, "actor", "", "only changes by this `name`")
			fs.StringVar(&since, "since", "", "only changes since this `moment`: a time such as 2027-01-31T15:04:05Z, or how long ago it was, such as 24h")
			fs.IntVar(&limit, "limit", 50, "`number` of changes at most, 0 for all")
		},
		run: func(ctx context.Context, c *call) error {
			from, err := parseMoment("--since", since)
			switch {
			case err != nil:
				return err
			case from.After(time.Now()):
				return command.Usagef("--since must not be in the future, is %q", since)
			case limit < 0:
				return command.Usagef("--limit must be 0 or more, is %d", limit)
			case feature != "" && resource != "":
				return command.Usagef("--feature and --resource exclude each other")
			case feature != "":
				resource = "features/" + feature
			}
			query := parameters("resource", resource, "actor", actor)
			if since != "" {
				query.Set("since", from.UTC().Format(time.RFC3339Nano))
			}
			return printList(ctx, c, list[api.AuditEntry]{
				query:  query,
				header: []string{"REVISION", "AT", "ACTOR", "ACTION", "RESOURCE", "COMMENT"},
				row: func(e api.AuditEntry) []string {
					return []string{number(e.Revision), moment(&e.At), e.Actor, e.Action, e.Resource, orNone(e.Comment)}
				},
				limit: limit,
			}, "audit")
		},
	}
}

func revert() verb {
	return verb{
		name:      "revert",
		arguments: "REVISION",
		summary:   "Revert all that a revision changed, as a new revision.",
		writes:    true,
		run: func(ctx context.Context, c *call) error {
			revision, err := strconv.ParseInt(c.Args[0], 10, 64)
			if err != nil || revision < 1 {
				return command.Usagef("REVISION must be a positive number, is %q", c.Args[0])
			}
			return write(ctx, c, change[api.Reverted]{
				name: c.Args[0],
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Reverted], error) {
					return c.admin.Revert(ctx, revision, opts...)
				},
				done: func(r api.Reverted) string {
					var resources []string
					for _, change := range r.Changes {
						resources = append(resources, change.Action+" "+change.Resource)
					}
					return fmt.Sprintf("revision %d is reverted: %s", revision, strings.Join(resources, ", "))
				},
			})
		},
	}
}

func about() verb {
	return verb{
		name:    "about",
		summary: "Describe the installation.",
		run: func(ctx context.Context, c *call) error {
			a, err := c.admin.About(ctx)
			if err != nil {
				return err
			}
			var t table
			t.add("context", orNone(c.name))
			t.add("url", c.server.shownURL())
			t.add("environment", orNone(a.Value.Environment))
			t.add("version", orNone(a.Value.Version))
			t.add("subjects", fmt.Sprintf("%d of weight %d", a.Value.Subjects, a.Value.TotalWeight))
			t.add("buckets", number(a.Value.Buckets))
			t.add("features", number(a.Value.Features))
			t.add("groups", number(a.Value.Groups))
			t.add("tests", fmt.Sprintf("%d live, %d scheduled", a.Value.Tests.Live, a.Value.Tests.Scheduled))
			return c.print(a.Body, []string{a.Value.Environment}, t)
		},
	}
}

func me() verb {
	return verb{
		name:    "me",
		summary: "Show whose token is used, and its role.",
		run: func(ctx context.Context, c *call) error {
			m, err := c.admin.Me(ctx)
			if err != nil {
				return err
			}
			var t table
			t.add("name", m.Value.Name)
			t.add("role", string(m.Value.Role))
			t.add("scope", orNone(strings.Join(m.Value.Scope, ", ")))
			t.add("expires", moment(m.Value.ExpiresAt))
			return c.print(m.Body, []string{m.Value.Name}, t)
		},
	}
}

func callAPI() verb {
	var data, file string
	return verb{
		name:      "api",
		arguments: "METHOD PATH",
		summary:   "Send any request, such as GET /v1/features?view=summary, and print the answer as it is.",
		asks:      true,
		formats:   rawFormats,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&data, "d", "", "`body` in JSON")
			fs.StringVar(&file, "f", "", "`file` with a body in JSON, - for standard input")
		},
		run: func(ctx context.Context, c *call) error {
			var body []byte
			switch {
			case data != "" && file != "":
				return command.Usagef("-d and -f exclude each other")
			case data != "":
				body = []byte(data)
			case file != "":
				var err error
				if body, err = c.readFile("-f", file); err != nil {
					return err
				}
			}
			if body != nil && !json.Valid(body) {
				return command.Usagef("the body must be JSON")
			}
			target, err := url.Parse(c.Args[1])
			if err != nil || !strings.HasPrefix(target.Path, "/") || target.Host != "" {
				return command.Usagef("path %q: must be like /v1/features", c.Args[1])
			}
			if target.Path == "/v1/events" {
				return command.Usagef("/v1/events is a stream, which api cannot follow: use edges --watch, or curl -N")
			}
			c.parameters = true
			method := strings.ToUpper(c.Args[0])
			dry := slices.Equal(target.Query()["dry_run"], []string{"true"}) // every write of the API takes it
			if method != http.MethodGet && method != http.MethodHead && !dry {
				if err := c.mayAsk(); err != nil {
					return err
				}
				if err := c.confirm(ctx, method+" "+c.Args[1]); err != nil {
					return err
				}
				c.stores = true
			}
			answer, err := c.admin.Call(ctx, method, c.Args[1], body)
			if err != nil || len(answer.Body) == 0 {
				return err
			}
			return c.printRaw(answer.Body)
		},
	}
}
