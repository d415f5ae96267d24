package main

import (
	"context"

	"github.com/flaggery/flaggery/pkg/dev"
	"github.com/flaggery/flaggery/pkg/web"
)

func devCommand() web.Command {
	var config dev.Config
	return web.Command{
		Name:     "dev",
		Summary:  "Run everything on this machine: PostgreSQL, the admin, an edge, with sample data.",
		Service:  true,
		Flags:    config.Flags,
		Validate: config.Validate,
		Run: func(ctx context.Context, env web.Environment) error {
			config.Version, config.Logger, config.Out = env.Version, env.Logger, env.Stdout
			return dev.Run(ctx, config)
		},
	}
}
