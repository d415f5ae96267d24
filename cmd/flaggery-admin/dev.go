package main

import (
	"context"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/dev"
)

func devCommand() command.Command {
	var config dev.Config
	return command.Command{
		Name:      "dev",
		Private:   true,
		Summary:   "Run PostgreSQL, the admin and an edge on this machine, with sample data.",
		Service:   true,
		Flags:     config.Flags,
		Variables: []string{"FLAGGERY_PG_BIN"},
		Validate:  config.Validate,
		Run: func(ctx context.Context, env command.Environment) error {
			config.Version, config.Logger, config.Out = env.Version, env.Logger, env.Stdout
			return dev.Run(ctx, config)
		},
	}
}
