// Command kserve is KServe's batcher before an upstream, to be measured beside the
// proxy by bench/overhead. It has a module of its own, so that nobody who uses the
// proxy downloads it.
//
//	cd bench/kserve && go build -o kserve . && cd ../.. && go run ./bench/overhead -measure peer -peer bench/kserve/kserve
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/kserve/kserve/pkg/batcher"
	"go.uber.org/zap"
)

func main() {
	upstream := flag.String("upstream", "", "`URL` of the upstream")
	size := flag.Int("batch-size", 16, "most instances in a batch")
	latency := flag.Int("max-latency", 5, "longest wait for a batch to fill, milliseconds")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	through := httputil.NewSingleHostReverseProxy(target)
	through.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	fmt.Println(l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, batcher.New(*size, *latency, through, zap.NewNop().Sugar())))
}
