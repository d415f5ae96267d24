package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// network is an edge's own network. Its way to the database leads over a router,
// also a network of its own, that can stop forwarding. Packets then vanish silently
// in both directions, as when a cable is cut. Its clients use another route.
//
//	PostgreSQL .1.1 ── .1.2 router .3.1 ── .3.2 edge .2.2 ── .2.1 clients
type network struct {
	t            *testing.T
	edge, router string // names of the network namespaces
	database     string // address at which the edge finds PostgreSQL
	clients      string // address at which clients find the edge
}

func canMakeNetworks() bool {
	_, err := exec.LookPath("ip")
	return err == nil && os.Geteuid() == 0
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	id := os.Getpid() % 250
	name := func(of string) string { return fmt.Sprintf("flt%d%s", id, of) } // interfaces have short names
	net := func(third, fourth int) string { return fmt.Sprintf("10.%d.%d.%d", id, third, fourth) }
	n := &network{t: t, edge: name("e"), router: name("r"), database: net(1, 1), clients: net(2, 2)}
	remove := func() {
		for _, s := range []string{"netns del " + n.edge, "netns del " + n.router, "link del " + name("a"), "link del " + name("f")} {
			_ = ip(s) // removing one may remove the next as well
		}
	}
	remove() // what a killed run left behind
	t.Cleanup(remove)
	for _, s := range []string{
		"netns add " + n.edge, "netns add " + n.router,
		"link add " + name("a") + " type veth peer name " + name("b"), "link set " + name("b") + " netns " + n.router,
		"link add " + name("c") + " netns " + n.router + " type veth peer name " + name("d") + " netns " + n.edge,
		"link add " + name("f") + " type veth peer name " + name("g"), "link set " + name("g") + " netns " + n.edge,
		"addr add " + net(1, 1) + "/24 dev " + name("a"), "link set " + name("a") + " up",
		"-n " + n.router + " addr add " + net(1, 2) + "/24 dev " + name("b"), "-n " + n.router + " link set " + name("b") + " up",
		"-n " + n.router + " addr add " + net(3, 1) + "/24 dev " + name("c"), "-n " + n.router + " link set " + name("c") + " up",
		"-n " + n.edge + " addr add " + net(3, 2) + "/24 dev " + name("d"), "-n " + n.edge + " link set " + name("d") + " up",
		"-n " + n.edge + " addr add " + net(2, 2) + "/24 dev " + name("g"), "-n " + n.edge + " link set " + name("g") + " up",
		"-n " + n.edge + " link set lo up",
		"-n " + n.edge + " route add " + net(1, 0) + "/24 via " + net(3, 1),
		"addr add " + net(2, 1) + "/24 dev " + name("f"), "link set " + name("f") + " up",
		"route add " + net(3, 0) + "/24 via " + net(1, 2),
	} {
		if err := ip(s); err != nil {
			t.Fatal(err)
		}
	}
	n.forward(true)
	return n
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// forward cuts or restores the route to the database.
func (n *network) forward(on bool) {
	n.t.Helper()
	value := map[bool]string{true: "1", false: "0"}[on]
	script := "echo " + value + " > /proc/sys/net/ipv4/ip_forward"
	if out, err := exec.Command("ip", "netns", "exec", n.router, "sh", "-c", script).CombinedOutput(); err != nil {
		n.t.Fatalf("forwarding %v: %v: %s", on, err, out)
	}
}

// letIn makes a PostgreSQL accept clients from other networks.
func (d *database) letIn() {
	d.t.Helper()
	path := filepath.Join(d.config.Dir, "data", "pg_hba.conf")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("host all all 10.0.0.0/8 trust\n"); err != nil {
		d.t.Fatal(err)
	}
	mustExec(d.t, connect(d.t, d.url()), `SELECT pg_reload_conf()`)
}

// The network between an edge and PostgreSQL is cut without a reset. The edge
// notices, keeps answering, and is back in sync soon after the network is restored.
// PostgreSQL drops the lost connection as well.
func TestNetworkCut(t *testing.T) {
	t.Parallel()
	onlyFullOrRoot(t)
	n := newNetwork(t)
	db := newDatabase(t, "", map[string]string{"listen_addresses": "127.0.0.1," + n.database})
	db.letIn()
	f := newFixture(t, db.url()).start(0)
	_, port, err := net.SplitHostPort(hostOf(t, db.url()))
	if err != nil {
		t.Fatal(err)
	}
	edge := f.newEdge(through(t, db.url(), net.JoinHostPort(n.database, port)) + "&sslmode=disable")
	edge.inNetwork(n.edge, n.clients)
	edge.run()
	reads, writes := f.read(4, 2*time.Millisecond, edge), f.write(1, 20*time.Millisecond)
	elapse(time.Second)

	var noticed, caughtUp, forgotten time.Duration
	cuts := fullOr([]time.Duration{20 * time.Second, 2 * time.Minute}, []time.Duration{0})
	for _, lasts := range cuts {
		n.forward(false)
		began := time.Now()
		eventually(t, allow(silence), "the edge notices the cut", func() error { return reportsAge(edge, true) })
		noticed = max(noticed, time.Since(began))
		if lasts >= time.Minute+30*time.Second {
			eventually(t, lasts, "PostgreSQL forgets the edge", func() error {
				var left int
				err := f.db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE client_addr <> '127.0.0.1'`).Scan(&left)
				if err == nil && left > 0 {
					err = fmt.Errorf("%d sessions", left)
				}
				return err
			})
			forgotten = max(forgotten, time.Since(began))
		}
		elapse(lasts - time.Since(began))
		last := f.revision()
		n.forward(true)
		began = time.Now()
		eventually(t, allow(catchUp), "the edge is back in sync", serves(edge, last))
		caughtUp = max(caughtUp, time.Since(began))
		f.reportNoAge()
	}
	served, written := reads.next(), writes.next()
	f.noFailure("network cut: reads", served)
	f.noFailure("network cut: writes", written)
	answers := f.finish()
	measured(t, "network cut without a reset", figures{
		"how": "packets vanish", "cuts": len(cuts), "noticed_s": noticed, "caught_up_s": caughtUp, "database_forgot_s": forgotten,
		"requests": served.requests, "errors": served.failed, "p99_s": p99(served), "answers_checked": answers,
	})
}

// inNetwork makes the program run in a network namespace, reachable at another
// address.
func (s *service) inNetwork(namespace, addr string) {
	_, port, _ := net.SplitHostPort(s.addr)
	s.addr = net.JoinHostPort(addr, port)
	s.wrap = []string{"ip", "netns", "exec", namespace}
	s.env = append(s.env, "FLAGGERY_HOST="+addr)
}

func onlyFullOrRoot(t *testing.T) {
	t.Helper()
	needs(t, "root and the program ip (iproute2), to make network namespaces", canMakeNetworks())
}
