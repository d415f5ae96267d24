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

// complete lists the values of an argument or a flag of a verb, all that begin with
// text and maybe others.
func (s *settings) complete(ctx context.Context, verb, what, text string) []string {
	if strings.HasSuffix(verb, " create") && !strings.HasPrefix(what, "-") {
		return nil // a new name
	}
	switch what {
	case "--context":
		return contextNames()
	case "-o":
		return []string{"table", "json", "yaml", "name"}
	case "--stage":
		return []string{string(api.StageNew), string(api.StageRolling), string(api.StageTesting), string(api.StageSettled), string(api.StageOff), string(api.StageExpired), string(api.StageArchived)}
	case "--state":
		if strings.HasPrefix(verb, "test ") {
			return []string{string(api.Scheduled), string(api.Live), string(api.Ended)}
		}
		return []string{string(api.StateDefault), string(api.StateRolling), string(api.StateTesting), string(api.StateEveryone), string(api.StateOff), string(api.StateArchived)}
	case "FEATURE", "--feature":
		if verb == "feature restore" {
			return s.names(ctx, "", "", parameters("view", "summary", "archived", "true"), "features")
		}
		return s.names(ctx, "feature", text, parameters("view", "summary"), "features")
	case "TEST":
		return s.names(ctx, "test", text, nil, "abtests")
	case "GROUP":
		return s.names(ctx, "group", text, nil, "groups")
	}
	return nil
}

// names lists the names of resources, those that come in time. A search costs the admin
// a twentieth of a list, but may leave some out. Completion is silent.
func (s *settings) names(ctx context.Context, kind, text string, query url.Values, path string) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := s.connect(ctx, command.Environment{}, flaggery.Retries(0))
	if err != nil {
		return nil
	}
	if kind != "" && text != "" {
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
		names = nil
	}
	for raw, err := range c.admin.List(ctx, query, path) {
		var item struct {
			Name string `json:"name"`
		}
		if err != nil || api.DecodeAnswer(raw, &item) != nil {
			break
		}
		names = append(names, item.Name)
	}
	return names
}
