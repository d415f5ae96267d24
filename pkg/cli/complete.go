package cli

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// completionTimeout limits how long a shell waits for names.
const completionTimeout = 3 * time.Second

// mostFound is how many matches a search returns at most.
const mostFound = 20

// mostRevisions is how many revisions are listed: older ones are seldom reverted.
const mostRevisions = 20

// complete lists the values of an argument or a flag of a verb, all that begin with
// text and maybe others. feature is the one among the arguments before, if any.
func (s *settings) complete(ctx context.Context, verb, feature, what, text string) []string {
	if strings.HasSuffix(verb, " create") && !strings.HasPrefix(what, "-") {
		return nil // a new name
	}
	switch what {
	case "--context":
		return contextNames()
	case "-o":
		return s.formats
	case "--stage":
		return texts(stages)
	case "--state":
		if strings.HasPrefix(verb, "test ") {
			return texts(testStates)
		}
		return texts(featureStates)
	case "--format":
		if verb == "state export" {
			return stateFormats
		}
		return importFormats
	case "--columns":
		return columnActions
	case "--groups":
		return groupActions
	case "--absent":
		return absentActions
	case "FEATURE", "--feature":
		return s.ask(ctx, func(ctx context.Context, c *call) (names []string) {
			for _, archived := range archivedFor(verb) {
				names = append(names, c.features(ctx, parameters("view", "names", "query", text, "archived", archived))...)
			}
			return names
		})
	case "TEST":
		return s.ask(ctx, func(ctx context.Context, c *call) []string { return c.names(ctx, "test", text, "abtests") })
	case "GROUP":
		return s.ask(ctx, func(ctx context.Context, c *call) []string { return c.names(ctx, "group", text, "groups") })
	case "VARIANT", "--variant":
		return s.ask(ctx, func(ctx context.Context, c *call) []string { return c.variants(ctx, feature) })
	case "REVISION":
		return s.ask(ctx, revisions)
	}
	return nil
}

// archivedFor says which features a verb is for: archived ones, others, or both.
func archivedFor(verb string) []string {
	switch verb {
	case "feature restore":
		return []string{"true"}
	case "feature show", "feature edit", "feature delete", "explain", "audit":
		return []string{"false", "true"}
	}
	return []string{"false"}
}

// ask gets values from the admin, none if they do not come in time. Completion is silent.
func (s *settings) ask(ctx context.Context, values func(ctx context.Context, c *call) []string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := s.connect(ctx, command.Environment{}, flaggery.Retries(0))
	if err != nil {
		return nil
	}
	return values(ctx, c)
}

// variants lists the names of the variants of a feature.
func (c *call) variants(ctx context.Context, feature string) (names []string) {
	found, err := c.admin.Feature(ctx, feature)
	if err != nil {
		return nil
	}
	for _, v := range found.Value.Variants {
		names = append(names, v.Name)
	}
	return names
}

// revisions lists the latest revisions, each with its first change.
func revisions(ctx context.Context, c *call) (latest []string) {
	last := int64(0)
	for raw, err := range c.admin.List(ctx, nil, "audit") {
		var entry api.AuditEntry
		if err != nil || api.DecodeAnswer(raw, &entry) != nil {
			break
		}
		if entry.Revision == last {
			latest = latest[:len(latest)-1]
		} else if len(latest) == mostRevisions {
			break
		}
		last = entry.Revision
		latest = append(latest, number(entry.Revision)+"\t"+clean(entry.Action+" "+entry.Resource))
	}
	return latest
}

// features lists the names of features, those that come in time.
func (c *call) features(ctx context.Context, query url.Values) []string {
	names, err := c.list(ctx, query, "features")
	if err != nil && len(names) == 0 { // the previous release has no names alone
		query.Set("view", "summary")
		names, _ = c.list(ctx, query, "features")
	}
	return names
}

// names lists the names of tests or groups, those that come in time. A search costs the
// admin a twentieth of a list, but may leave some out.
func (c *call) names(ctx context.Context, kind, text, path string) (names []string) {
	if text != "" {
		found, err := c.admin.Search(ctx, text)
		if err != nil {
			return nil
		}
		for _, f := range found.Value {
			if f.Kind == kind {
				names = append(names, f.Name)
			}
		}
		if len(found.Value) < mostFound {
			return names
		}
	}
	names, _ = c.list(ctx, nil, path)
	return names
}

// list lists the names of items, or the items if they are names, until one fails.
func (c *call) list(ctx context.Context, query url.Values, path string) (names []string, err error) {
	for raw, err := range c.admin.List(ctx, query, path) {
		if err != nil {
			return names, err
		}
		var item struct {
			Name string `json:"name"`
		}
		if raw[0] == '"' {
			err = api.DecodeAnswer(raw, &item.Name)
		} else {
			err = api.DecodeAnswer(raw, &item)
		}
		if err != nil {
			return names, err
		}
		names = append(names, item.Name)
	}
	return names, nil
}
