// Registrar stands in for csi-node-driver-registrar in the lab: its module is not served. It tells the kubelet
// of a CSI plugin by the two calls of the kubelet's plugin-registration API, with the same flags as the real one.
//
// The kubelet does not try a registration again that failed: like the real one, this ends then, and is started anew.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type server struct {
	registration.UnimplementedRegistrationServer
	info *registration.PluginInfo
}

func (s *server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return s.info, nil
}

func (s *server) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Fatalf("the kubelet refused %s: %s", s.info.Name, status.Error)
	}
	log.Printf("%s is registered", s.info.Name)
	return &registration.RegistrationStatusResponse{}, nil
}

func main() {
	plugin := flag.String("csi-address", "/csi/csi.sock", "socket of the CSI plugin, as this program sees it")
	known := flag.String("kubelet-registration-path", "", "the same socket, as the kubelet sees it")
	folder := flag.String("plugin-registration-path", "/registration", "where the kubelet looks for plugins")
	flag.String("v", "0", "for the real one's sake")
	flag.Duration("timeout", 0, "for the real one's sake")
	flag.Parse()
	name := askForName(*plugin)
	socket := filepath.Join(*folder, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	served := grpc.NewServer()
	registration.RegisterRegistrationServer(served, &server{info: &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: name, Endpoint: *known, SupportedVersions: []string{"1.0.0"},
	}})
	log.Fatal(served.Serve(listener))
}

// askForName waits for the plugin, however long it takes to start.
func askForName(socket string) string {
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		info, err := csi.NewIdentityClient(connection).GetPluginInfo(
			ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return info.Name
		}
		log.Printf("%s: %v", socket, err)
	}
}
