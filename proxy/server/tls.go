package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"paceline/proxy/file"
)

// certificates holds the TLS configuration of files, and reads them again when they change,
// for the next connection. It is safe for concurrent use.
type certificates struct {
	followed

	config atomic.Pointer[tls.Config] // for one connection
}

// openCertificates reads the files. Without a certificate it returns nil: no TLS.
func openCertificates(cert, key, clientCA string, log *slog.Logger) (*certificates, error) {
	if cert == "" && key == "" && clientCA == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("needs both -tls-cert and -tls-key")
	}
	c := &certificates{followed: followed{paths: []string{cert, key, clientCA}, stays: "the previous certificates stay", log: log}}
	c.read = func() ([]string, error) { return c.readTLS(cert, key, clientCA) }
	return c, c.open()
}

// tls returns the configuration of a listener for the given protocols.
func (c *certificates) tls(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.look()
			config := c.config.Load().Clone()
			config.NextProtos = protocols
			return config, nil
		},
	}
}

func (c *certificates) readTLS(cert, key, clientCA string) (changes []string, err error) {
	certPEM, certErr := file.Read(cert)
	keyPEM, keyErr := file.Read(key)
	if err = errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if clientCA != "" {
		pem, err := file.Read(clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: holds no certificate", clientCA)
		}
	}
	old := c.config.Swap(config)
	if old == nil { // at the start
		return nil, nil
	}
	if was, is := certificateText(old), certificateText(config); was != is {
		changes = append(changes, was+" -> "+is)
	}
	if !old.ClientCAs.Equal(config.ClientCAs) {
		changes = append(changes, "the authorities of clients")
	}
	return changes, nil
}

// certificateText names the certificate of a configuration for the log.
func certificateText(c *tls.Config) string {
	leaf := c.Certificates[0].Leaf
	return fmt.Sprintf("serial %x, valid until %s", leaf.SerialNumber, leaf.NotAfter.Format(time.RFC3339))
}
