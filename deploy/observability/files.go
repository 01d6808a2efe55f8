// Package observability holds the configuration of what watches Paceline: the
// Collector, Jaeger, Prometheus and Grafana. compose.yaml starts them together.
package observability

import "embed"

// Files are the files of this directory.
//
//go:embed jaeger.yaml
var Files embed.FS
