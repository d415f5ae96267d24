package main

import (
	"context"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
)

func serveCommand() command.Command {
	var config admin.Config
	return command.Command{
		Name:     "serve",
		Summary:  "Run the admin service.",
		Service:  true,
		Flags:    config.Flags,
		Validate: config.Validate,
		Run: func(ctx context.Context, env command.Environment) error {
			config.Version, config.Logger = env.Version, env.Logger
			return admin.Run(ctx, config)
		},
	}
}
