package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is another flag system that the go command can build.
type peer struct {
	name    string
	module  string
	version string
	program string // the package to build
	ready   string // path that answers once it serves
	job     job
	// prepare writes what it needs to dir and returns how to start it on addr.
	prepare func(dir, addr string) (args, env []string, err error)
}

// peerRow is the result of a peer: its costs, or the error.
type peerRow struct {
	name  string
	costs figure
	err   error
}

var peers = []peer{
	{
		name:   "GO Feature Flag",
		module: "github.com/thomaspoignant/go-feature-flag", version: "v1.55.2",
		program: "github.com/thomaspoignant/go-feature-flag/cmd/relayproxy",
		ready:   "/health", job: ofrepOf(peerUsers), prepare: prepareRelayProxy,
	},
	{
		name:   "flagr",
		module: "github.com/openflagr/flagr", version: "v1.2.3",
		program: "github.com/openflagr/flagr/swagger_gen/cmd/flagr-server",
		ready:   "/api/v1/health", prepare: prepareFlagr,
		job: job{Method: "POST", Path: "/api/v1/evaluation/batch", Subjects: peerUsers,
			Body: `{"entities":[{"entityID":"{id}"}],"flagIDs":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}`},
	},
}

// peerUsers is the number of users in requests to peers, which know none
// beforehand.
const peerUsers = 1_000_000

// measurePeers puts each peer and our edge under the same load.
func (l *lab) measurePeers(ctx context.Context) ([]peerRow, error) {
	var rows []peerRow
	d := l.size.standard()
	for _, ours := range []struct {
		name string
		job  job
	}{
		{"Flaggery", flagsOf(d.subjects)},
		{"Flaggery, OFREP", ofrepOf(d.subjects)},
	} {
		l.progress.next(ours.name)
		if edge, err := l.edge(ctx, d); err != nil {
			rows = append(rows, peerRow{name: ours.name, err: err})
		} else {
			rows = append(rows, l.peerRow(ctx, ours.name, edge, ours.job))
		}
	}
	l.stopServices()
	for _, p := range peers {
		l.progress.next(p.name)
		name := p.name + " " + p.version
		running, err := l.startPeer(ctx, p)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			rows = append(rows, peerRow{name: name, err: err})
			continue
		}
		rows = append(rows, l.peerRow(ctx, name, running, p.job))
		running.stop()
	}
	chart := chart{file: "peers", title: "CPU per request for 20 flags of one user", bars: true,
		y: "times a bare net/http handler", lines: []line{{}}}
	chart.add("bare net/http handler", 1)
	for _, row := range rows {
		if row.err == nil {
			chart.add(row.name, row.costs.ratio)
		}
	}
	l.charts = append(l.charts, chart)
	return rows, ctx.Err()
}

func (l *lab) peerRow(ctx context.Context, name string, server *process, j job) peerRow {
	ours, bare, err := l.againstBare(ctx, name, name, server, j)
	if err != nil {
		return peerRow{name: name, err: err}
	}
	return peerRow{name: name, costs: costs("", ours, bare, limit{})}
}

// startPeer builds a peer and starts it.
func (l *lab) startPeer(ctx context.Context, p peer) (*process, error) {
	dir := filepath.Join(l.dir, "peers", strings.ReplaceAll(p.name, " ", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l.progress.step("building " + p.program + "@" + p.version + ", which may take minutes")
	// In a module of its own, and not by 'go install …@version': that also asks
	// for the list of all versions, which not every module proxy gives.
	mod := fmt.Sprintf("module peer\n\ngo 1.26\n\nrequire %s %s\n", p.module, p.version)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "program")
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", program, p.program)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot be built: %s", lastReason(out))
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args, env, err := p.prepare(dir, addr)
	if err != nil {
		return nil, err
	}
	return startServer(ctx, dir, "peer", addr, p.ready, env, program, args...)
}

// lastReason is the part of the go command's output that says why, without the
// address it asked.
func lastReason(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var kept []string
	for _, word := range strings.Fields(strings.Join(lines[max(0, len(lines)-2):], " ")) {
		if !strings.Contains(word, "://") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

func prepareRelayProxy(dir, addr string) (args, env []string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	var flags strings.Builder
	for i := range standardFeatures {
		fmt.Fprintf(&flags, "%s:\n  variations: {%s: %[2]s, %[3]s: %[3]s}\n  defaultRule:\n    percentage: {%[2]s: 50, %[3]s: 50}\n",
			featureName(i), control, treatment)
	}
	config := fmt.Sprintf("server: {mode: http, host: %s, port: %s}\nlogLevel: error\nhideBanner: true\nretrievers: [{kind: file, path: %s}]\n",
		host, port, filepath.Join(dir, "flags.yaml"))
	return []string{"--config", filepath.Join(dir, "config.yaml")}, nil, writeFiles(dir, map[string]string{
		"flags.yaml":  flags.String(),
		"config.yaml": config,
	})
}

// prepareFlagr runs flagr at its fastest: from a file, without recording or logging
// evaluations.
func prepareFlagr(dir, addr string) (args, env []string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	type object = map[string]any
	var flags []object
	for i := range standardFeatures {
		id := i + 1
		flags = append(flags, object{"ID": id, "Key": featureName(i), "Enabled": true,
			"Variants": []object{{"ID": 2 * id, "FlagID": id, "Key": control}, {"ID": 2*id + 1, "FlagID": id, "Key": treatment}},
			"Segments": []object{{"ID": id, "FlagID": id, "RolloutPercent": 100, "Distributions": []object{
				{"SegmentID": id, "VariantID": 2 * id, "VariantKey": control, "Percent": 50},
				{"SegmentID": id, "VariantID": 2*id + 1, "VariantKey": treatment, "Percent": 50},
			}}},
		})
	}
	text, err := json.Marshal(object{"Flags": flags})
	if err != nil {
		return nil, nil, err
	}
	env = []string{
		"FLAGR_DB_DBDRIVER=json_file", "FLAGR_DB_DBCONNECTIONSTR=" + filepath.Join(dir, "flags.json"),
		"FLAGR_RECORDER_ENABLED=false", "FLAGR_EVAL_LOGGING_ENABLED=false", "FLAGR_EVAL_DEBUG_ENABLED=false",
		"FLAGR_MIDDLEWARE_VERBOSE_LOGGER_ENABLED=false", "FLAGR_MIDDLEWARE_GZIP_ENABLED=false", "FLAGR_LOGRUS_LEVEL=error",
	}
	return []string{"--host", host, "--port", port}, env, writeFiles(dir, map[string]string{"flags.json": string(text)})
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func peerTable(rows []peerRow) string {
	cells := [][]string{{"server", perMillion + ":", "bare handler:", "ratio:", "remark"}}
	for _, r := range rows {
		if r.err != nil {
			cells = append(cells, []string{r.name, "", "", "", oneLine(r.err.Error())})
			continue
		}
		remark := ""
		if r.costs.errors > 0 {
			remark = fmt.Sprintf("%d errors (%s)", r.costs.errors, oneLine(r.costs.remark))
		}
		cells = append(cells, []string{r.name, number(r.costs.value), number(r.costs.reference), fmt.Sprintf("%.2f ×", r.costs.ratio), remark})
	}
	return table(cells)
}
