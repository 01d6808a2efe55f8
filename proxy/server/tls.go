package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates holds the TLS configuration of files, and reads them again when they change,
// for the next connection. It is safe for concurrent use.
type certificates struct {
	cert, key, clientCA string
	log                 *slog.Logger

	mu       sync.Mutex // guards all fields below
	looked   time.Time
	versions [3]fileVersion
	config   *tls.Config // for one connection
}

// openCertificates reads the files. Without a certificate it returns nil: no TLS.
func openCertificates(cert, key, clientCA string, log *slog.Logger) (*certificates, error) {
	if cert == "" && key == "" && clientCA == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("needs both -tls-cert and -tls-key")
	}
	c := &certificates{cert: cert, key: key, clientCA: clientCA, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.read()
}

// tls returns the configuration of a listener for the given protocols.
func (c *certificates) tls(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.now().Clone()
			config.NextProtos = protocols
			return config, nil
		},
	}
}

// now returns the current configuration, for a new connection.
func (c *certificates) now() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := time.Now(); t.Sub(c.looked) >= lookAgain {
		c.looked = t
		if v, _ := c.versionsNow(); v != c.versions {
			if err := c.read(); err != nil {
				c.log.Error("the TLS files can't be read again: the previous certificates stay", "error", err)
				c.versions = v // logged once
			}
		}
	}
	return c.config
}

func (c *certificates) versionsNow() (v [3]fileVersion, err error) {
	var errs []error
	for i, path := range []string{c.cert, c.key, c.clientCA} {
		if path == "" {
			continue
		}
		v[i], err = versionOf(path)
		errs = append(errs, err)
	}
	return v, errors.Join(errs...)
}

// read reads the files. It requires mu.
func (c *certificates) read() error {
	v, err := c.versionsNow()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.clientCA != "" {
		pem, err := os.ReadFile(c.clientCA)
		if err != nil {
			return err
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: holds no certificate", c.clientCA)
		}
	}
	c.config, c.versions, c.looked = config, v, time.Now()
	return nil
}
