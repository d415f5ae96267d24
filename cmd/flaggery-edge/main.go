// Flaggery-edge is the edge service. It follows the admin's database and answers
// queries for flags from memory. See --help.
package main

import (
	"context"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/edge"
)

// version is set by -ldflags "-X main.version=v1.2.3".
var version string

func main() { program().Main() }

func program() command.Program {
	var config edge.Config
	return command.Program{
		Name:    "flaggery-edge",
		Summary: "Flaggery's edge service, which answers queries for flags.",
		Version: version,
		Commands: []command.Command{{
			Name:     "serve",
			Summary:  "Run the edge service.",
			Service:  true,
			Flags:    config.Flags,
			Validate: config.Validate,
			Run: func(ctx context.Context, env command.Environment) error {
				config.Version, config.Logger = env.Version, env.Logger
				return edge.Run(ctx, config)
			},
		}},
	}
}
