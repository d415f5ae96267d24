package faults

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// chartMemory is the memory limit of an admin in the chart.
const chartMemory = 256 << 20

// newSmallAdmin is an admin in a container of the chart's memory.
func (f *fixture) newSmallAdmin(group string) *service {
	f.t.Helper()
	admin := f.newAdmin(f.url)
	if raceEnabled { // the race detector takes ten times the memory
		admin.program = filepath.Join(scratch(f.t), "flaggery-admin-without-race")
		build(f.t, admin.program, "flaggery-admin")
	}
	admin.wrap = []string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs")}
	return admin.run()
}

// More clients than the admin has slots ask for the largest pages and streams,
// within the chart's memory.
func TestLargeAnswers(t *testing.T) {
	group := newMemoryGroup(t, chartMemory)
	f := newFixture(t, pgtest.Open(t))
	admin := f.newSmallAdmin(group)
	f.fill()
	f.fillAudit(fullOr(1500, 300), 65_000)
	for i := range 10 {
		f.call("POST", "/v1/features", object{"name": fmt.Sprintf("large%d", i)})
	}
	_, err := f.db.Exec(`INSERT INTO variant (feature, name, payload)
		SELECT 'large' || f, 'v' || v, to_json(repeat('x', 65000)) FROM generate_series(0, 9) f, generate_series(0, 39) v`)
	if err != nil {
		t.Fatal(err)
	}
	var served, refused, cutOff atomic.Int64
	var rush sync.WaitGroup
	end := time.Now().Add(fullOr(30*time.Second, 0))
	for i := range 18 {
		rush.Go(func() {
			target, header := "/v1/features?limit=1000", ""
			switch i % 6 {
			case 0:
				target, header = "/v1/audit", "Accept: application/x-ndjson\r\n"
			case 1, 2, 3:
				target = "/v1/audit?limit=1000"
			}
			c := client{addr: admin.addr, token: token, timeout: 5 * time.Minute}
			defer c.close()
			for first := true; first || time.Now().Before(end); first = false {
				a, err := c.do("GET", target, nil, header)
				switch {
				case err != nil:
					cutOff.Add(1) // on a busy machine, by the time that an answer has
				case a.status == 503 && a.header.Get("Retry-After") != "":
					refused.Add(1)
				case a.status == 200:
					served.Add(1)
				default:
					t.Errorf("%s: status %d: %s", target, a.status, a.body)
				}
			}
		})
	}
	rush.Wait()
	if admin.ended() {
		t.Fatalf("the admin ended: %s", admin.log.tail())
	}
	if served.Load() == 0 {
		t.Error("no answer came")
	}
	f.aChange()
	measured(t, "the largest pages and streams within the chart's memory", figures{
		"limit_mb": chartMemory >> 20, "peak_mb": peakOf(t, group) >> 20, "served": served.Load(), "refused": refused.Load(), "cut_off": cutOff.Load(),
	})
}
