package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// issue creates a certificate for 127.0.0.1 and adds it to roots.
func issue(t *testing.T, serial int64, roots *x509.CertPool) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "flaggery"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(serial) * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// A certificate is replaced file by file under load: no request fails, the pair
// that does not match for a moment is not used, and then the new one is.
func TestCertificateIsRotated(t *testing.T) {
	t.Parallel()
	roots, dir := x509.NewCertPool(), t.TempDir()
	files := TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := issue(t, 1, roots)
	newCert, newKey := issue(t, 20, roots) // trusted from the start, as from one authority
	write(files.CertFile, cert)
	write(files.KeyFile, key)

	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), TLS: files, Limits: Limits{Connections: 100}})
	address := listen(t, s)
	var later atomic.Int64
	s.certificate.mu.Lock()
	s.certificate.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	s.certificate.mu.Unlock()

	// serial returns the serial number of the certificate on a new connection.
	serial := func(protocols ...string) (int64, int) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: protocols}, ForceAttemptHTTP2: len(protocols) == 0}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get("https://" + address + "/healthz")
		if err != nil {
			t.Error(err)
			return 0, 0
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("status %d, error %v", answer.StatusCode, err)
		}
		if hsts := answer.Header.Get("Strict-Transport-Security"); hsts != "max-age=31536000" {
			t.Errorf("Strict-Transport-Security is %q", hsts)
		}
		return answer.TLS.PeerCertificates[0].SerialNumber.Int64(), answer.ProtoMajor
	}
	if n, major := serial(); n != 1 || major != 2 {
		t.Errorf("certificate %d, HTTP/%d", n, major)
	}
	if _, major := serial("http/1.1"); major != 1 {
		t.Errorf("got HTTP/%d, want HTTP/1.1", major)
	}

	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					serial()
				}
			}
		})
	}
	next := func(want int64, what string) {
		t.Helper()
		later.Add(int64(lookEvery))
		if n, _ := serial(); n != want {
			t.Errorf("%s: certificate %d is served, want %d", what, n, want)
		}
	}
	write(files.CertFile, newCert)
	next(1, "with a key that does not fit")
	if n := testutil.ToFloat64(s.certificate.failed); n != 1 {
		t.Errorf("%v failures were counted", n)
	}
	next(1, "still")
	write(files.KeyFile, newKey[:len(newKey)/2])
	next(1, "with half a key")
	write(files.KeyFile, newKey)
	next(20, "with both")
	if err := os.Remove(files.KeyFile); err != nil {
		t.Fatal(err)
	}
	next(20, "with no key")
	close(stop)
	load.Wait()
	if n := testutil.ToFloat64(s.certificate.failed); n != 3 { // an unchanged pair is tried only once
		t.Errorf("%v failures were counted, want 3", n)
	}
}

func TestCertificateAtFault(t *testing.T) {
	t.Parallel()
	for _, files := range []TLS{{CertFile: "a"}, {KeyFile: "a"}} {
		if err := files.Validate(); err == nil || !strings.Contains(err.Error(), "FLAGGERY_TLS_KEY") {
			t.Errorf("%+v: %v", files, err)
		}
	}
	s := New(Options{
		Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"),
		TLS: TLS{CertFile: filepath.Join(t.TempDir(), "none"), KeyFile: "none"},
	})
	if l, err := s.Listen("127.0.0.1", 0); err == nil || !strings.Contains(err.Error(), "FLAGGERY_TLS_CERT") {
		t.Errorf("listens on %v, error %v", l, err)
	}
}
