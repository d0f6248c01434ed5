// Liveness stands in for the livenessprobe sidecar in the lab: its module is not served. It answers
// GET /healthz with 200 while the CSI plugin calls itself ready, with the same flags as the real one.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	plugin := flag.String("csi-address", "/run/csi/socket", "socket of the CSI plugin")
	port := flag.String("health-port", "9808", "where /healthz is served")
	endpoint := flag.String("http-endpoint", "", "the same, with a host")
	patience := flag.Duration("probe-timeout", time.Second, "for the plugin to answer")
	flag.String("v", "0", "for the real one's sake")
	flag.Parse()
	connection, err := grpc.NewClient("unix:"+*plugin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), *patience)
		defer cancel()
		if err := probe(ctx, connection); err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(answer, "ok")
	})
	if *endpoint == "" {
		*endpoint = ":" + *port
	}
	log.Fatal(http.ListenAndServe(*endpoint, nil))
}

func probe(ctx context.Context, connection *grpc.ClientConn) error {
	said, err := csi.NewIdentityClient(connection).Probe(ctx, &csi.ProbeRequest{})
	if err == nil && said.Ready != nil && !said.Ready.Value {
		err = fmt.Errorf("the plugin is not ready")
	}
	return err
}
