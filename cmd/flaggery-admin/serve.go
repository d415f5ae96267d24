package main

import (
	"context"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/web"
)

func serveCommand() web.Command {
	var config admin.Config
	return web.Command{
		Name:     "serve",
		Summary:  "Run the admin service.",
		Service:  true,
		Flags:    config.Flags,
		Validate: config.Validate,
		Run: func(ctx context.Context, env web.Environment) error {
			config.Version, config.Logger = env.Version, env.Logger
			return admin.Run(ctx, config)
		},
	}
}
