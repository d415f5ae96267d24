package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// change is a write of a verb.
type change[T any] struct {
	name string // of the resource, for -o name
	// names are those of the resources, for changes of any number of them.
	names func(T) []string
	do    func(opts ...flaggery.WriteOption) (flaggery.Result[T], error)
	// done says what has changed: "feature checkout is off".
	done func(T) string
	// effect says who is affected; nil for how most changes do.
	effect func(flaggery.Result[T]) string
	// unseen changes have no effect on subjects, and no dry run before them.
	unseen bool
}

// removal is the do of a change that leaves nothing to return.
func removal(do func(opts ...flaggery.WriteOption) (flaggery.Receipt, error)) func(opts ...flaggery.WriteOption) (flaggery.Result[struct{}], error) {
	return func(opts ...flaggery.WriteOption) (flaggery.Result[struct{}], error) {
		receipt, err := do(opts...)
		return flaggery.Result[struct{}]{Receipt: receipt}, err
	}
}

// always is the done of a change whose result says no more.
func always[T any](format string, args ...any) func(T) string {
	return func(T) string { return fmt.Sprintf(format, args...) }
}

// write makes a change: a dry run for its effect, the question if the context is
// protected, then the write.
func write[T any](ctx context.Context, c *call, w change[T]) error {
	if err := c.mayAsk(); err != nil {
		return err
	}
	var effect string
	if c.dryRun || !w.unseen {
		dry, err := w.do(append(c.options(), flaggery.Wait(0), flaggery.DryRun())...)
		if err != nil {
			return err
		}
		effect = affected(dry.Receipt)
		if w.effect != nil {
			effect = w.effect(dry)
		}
		if c.dryRun {
			return report(c, w, dry, "dry run, nothing is stored: "+joined(w.done(dry.Value), effect))
		}
		if c.asks() {
			c.showChanges(dry.Receipt)
		}
	}
	if err := c.confirm(ctx, effect); err != nil {
		return err
	}
	c.stores = true
	result, err := w.do(c.options()...)
	if err != nil {
		return err
	}
	return report(c, w, result, joined(w.done(result.Value), effect, live(result.Propagation)))
}

// joined is a line of the parts that are not empty.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "; ")
}

// report prints the line of a change, to standard error if standard output is for the
// answer.
func report[T any](c *call, w change[T], result flaggery.Result[T], line string) error {
	if c.format != "table" {
		fmt.Fprintln(c.Stderr, clean(line))
		names := []string{w.name}
		if w.names != nil {
			names = w.names(result.Value)
		}
		return c.print(result.Body, names, table{})
	}
	if _, err := fmt.Fprintln(c.Stdout, clean(line)); err != nil {
		return err
	}
	if result.DryRun {
		return changes(result.Receipt).write(c.Stdout)
	}
	return nil
}

// affected says in a line who is affected.
func affected(r flaggery.Receipt) string {
	line := "no subject is affected"
	switch n := r.Affected.Subjects; {
	case n > 0 && r.Drawn:
		line = fmt.Sprintf("affects about %s of weight %d, as it draws at random", count(n, "subject"), r.Affected.Weight)
	case n > 0:
		line = fmt.Sprintf("affects %s of weight %d", count(n, "subject"), r.Affected.Weight)
	}
	if len(r.Removes) > 0 {
		line += "; removes " + strings.Join(r.Removes, ", ")
	}
	return line
}

// affectedAtZero is affected for a rollout that begins at 0 %, whatever is drawn for it.
func affectedAtZero[T any](dry flaggery.Result[T]) string {
	dry.Drawn = false
	return affected(dry.Receipt)
}

// changes lists the flags that a dry run would change.
func changes(r flaggery.Receipt) table {
	t := table{header: []string{"FEATURE", "FROM", "TO", "SUBJECTS", "WEIGHT"}}
	for _, change := range r.Changes {
		t.add(change.Feature, text(change.From), text(change.To), number(change.Subjects), number(change.Weight))
	}
	if len(t.rows) == 0 {
		t.header = nil
	}
	return t
}

// live says how far a change has come.
func live(p *api.Propagation) string {
	switch {
	case p == nil:
		return ""
	case p.Edges == 0:
		return "no edge is connected"
	}
	line := fmt.Sprintf("live on %d of %s after %s", p.Applied, count(p.Edges, "edge"), seconds(p.Seconds))
	if len(p.Behind) > 0 {
		line += "; behind: " + strings.Join(p.Behind, ", ")
	}
	return line
}

func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", math.Ceil(s*1000))
	}
	return fmt.Sprintf("%.1f s", s)
}

// asks reports whether a change is to be confirmed by a person.
func (c *call) asks() bool { return c.server.Protected && !c.yes && !c.dryRun }

// mayAsk fails if a change has to be confirmed and there is no person.
func (c *call) mayAsk() error {
	if c.asks() && !isTerminal(c.Stdin) {
		return command.Usagef("context %s is protected, and standard input is no terminal to ask on: add --yes", c.name)
	}
	return nil
}

// showChanges shows the effect of a dry run before the question.
func (c *call) showChanges(r flaggery.Receipt) {
	_ = changes(r).write(c.Stderr) // a terminal that is gone cannot confirm
}

// confirm asks whether to make a change, if the context is protected.
func (c *call) confirm(ctx context.Context, effect string) error {
	if !c.asks() {
		return nil
	}
	about, err := c.admin.About(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Stderr, "%s (%s): %s. Make this change? [y/N] ", clean(cmp.Or(about.Value.Environment, c.name)), c.server.shownURL(), cmp.Or(effect, "affects no flags"))
	answer := make(chan string, 1)
	go func() { // a read of a terminal does not end with ctx
		line, _ := bufio.NewReader(c.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		if slices.Contains([]string{"y", "yes"}, line) {
			return nil
		}
	case <-ctx.Done():
	}
	return errDeclined
}

// parseEnd reads a time, or a duration after another time.
func parseEnd(text string, from time.Time) (time.Time, error) {
	if after, err := time.ParseDuration(text); err == nil {
		return from.Add(after), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		err = command.Usagef("END must be a time such as 2027-01-31T15:04:05Z or a duration such as 168h, is %q", text)
	}
	return at, err
}
