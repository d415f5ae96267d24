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
const completionTimeout = time.Second

// complete lists the values of an argument or a flag of a verb.
func (s *settings) complete(ctx context.Context, verb, what string) []string {
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
		query := url.Values{}
		if verb == "feature restore" {
			query.Set("archived", "true")
		}
		return s.names(ctx, query, "features")
	case "TEST":
		return s.names(ctx, nil, "abtests")
	case "GROUP":
		return s.names(ctx, nil, "groups")
	}
	return nil
}

// names lists the names of resources, those that come in time. Completion is silent.
func (s *settings) names(ctx context.Context, query url.Values, path string) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := s.connect(ctx, command.Environment{}, flaggery.Retries(0))
	if err != nil {
		return nil
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
