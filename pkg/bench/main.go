// Command bench measures Flaggery on the machine at hand and prints each goal
// beside what came out. In this folder, which is a module of its own:
//
//	go run .            # everything, about a quarter of an hour
//	go run . -quick     # everything at a smaller scale, in two minutes
//	go run . -only get,memory
//	go run . -peers     # other flag systems under the same load
//
// It starts what it needs: a PostgreSQL with filled databases, our services, and
// the references that they are compared with, each a process of its own. CPU
// time and memory are read from Linux's /proc.
//
// Machines differ and are noisy, so all times are compared with a reference that
// runs in the same minute, in turns with ours.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// Processes that the harness starts of itself.
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return generate(ctx)
		case "probe":
			return runProbe(ctx)
		case "follow":
			return follow(ctx)
		case "reference":
			return serveReference(ctx, args[1])
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return o.run(ctx)
}

type options struct {
	quick    bool
	peers    bool
	goals    []goal
	markdown string
	data     string
}

func parseOptions(args []string) (options, error) {
	var (
		o     options
		only  string
		names []string
		flags = flag.NewFlagSet("bench", flag.ContinueOnError)
	)
	for _, g := range goals {
		names = append(names, g.name)
	}
	flags.BoolVar(&o.quick, "quick", false, "measure everything at a smaller scale, in under two minutes")
	flags.BoolVar(&o.peers, "peers", false, "measure other flag systems instead, built by the go command")
	flags.StringVar(&only, "only", "", "measure these `goals` only: "+strings.Join(names, ","))
	flags.StringVar(&o.markdown, "markdown", "", "write the report to this `file` too, and plots to images beside it, if everything was measured")
	flags.StringVar(&o.data, "data", "", "keep the filled databases in this `folder` for the next run")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "Measures Flaggery on this machine, each goal beside its reference.\n\nusage: go -C pkg/bench run . [flags]\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	wanted := names
	if only != "" && o.markdown != "" {
		return o, errors.New("-markdown takes everything, so that the page is of one run: leave out -only")
	}
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		i := slices.Index(names, name)
		if i < 0 {
			return o, fmt.Errorf("no goal is called %q: there are %s", name, strings.Join(names, ", "))
		}
		o.goals = append(o.goals, goals[i])
	}
	return o, nil
}

func (o options) run(ctx context.Context) (err error) {
	r := &report{size: full, quick: o.quick}
	if o.quick {
		r.size = quick
	}
	p := newProgress(os.Stderr)
	l, err := openLab(ctx, r.size, o.data, p)
	if err != nil {
		return err
	}
	defer func() {
		p.step("stopping")
		err = errors.Join(err, l.close())
		p.clear()
	}()
	if r.machine, err = describeMachine(ctx, l.admin); err != nil {
		return err
	}
	if o.peers {
		r.peers, err = l.measurePeers(ctx)
	} else {
		r.rows, err = l.measure(ctx, o.goals)
	}
	if err != nil {
		return err
	}
	r.requests, r.charts = l.requests, append(r.charts, l.charts...)
	p.clear()
	fmt.Print(r.text())
	if o.markdown != "" {
		return r.write(o.markdown)
	}
	return r.failed()
}

// measure measures all goals, even if one of them fails.
func (l *lab) measure(ctx context.Context, goals []goal) ([]row, error) {
	var rows []row
	for i, g := range goals {
		l.progress.next(fmt.Sprintf("%d/%d %s", i+1, len(goals), g.name))
		figures, err := g.measure(l, ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		rows = append(rows, row{g, figures, err})
	}
	return rows, nil
}
