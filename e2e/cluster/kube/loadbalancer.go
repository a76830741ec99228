package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/netip"
	"os"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// addresses hands out the addresses of a range to Services of type
// LoadBalancer: it writes their status, and kube-proxy does the rest.
type addresses struct {
	client kubernetes.Interface
	pool   netip.Prefix
	// What was given, which the cache may not show yet.
	given map[types.UID]string
}

// loadBalancer runs until it is ended.
func loadBalancer() {
	flags := flag.NewFlagSet("load-balancer", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "path of a kubeconfig")
	pool := flags.String("range", "", "addresses to hand out, such as 198.19.16.0/20")
	_ = flags.Parse(os.Args[1:])
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	a := &addresses{client: client, pool: netip.MustParsePrefix(*pool), given: map[types.UID]string{}}

	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // Whoever looks next will see this change too.
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	_, _ = services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	})
	ctx := context.Background()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range changed {
		all, err := services.Lister().List(labels.Everything())
		if err == nil {
			err = a.assign(ctx, all)
		}
		if err != nil {
			log.Print(err)
			time.AfterFunc(time.Second, notify)
		}
	}
}

// assign sees to it that every Service has the address it asks for, or any if
// it asks for none.
func (a *addresses) assign(ctx context.Context, services []*core.Service) error {
	used, exists := map[string]bool{}, map[types.UID]bool{}
	for _, service := range services {
		exists[service.UID] = true
		used[current(service)] = true
	}
	for uid, address := range a.given {
		if exists[uid] {
			used[address] = true
		} else {
			delete(a.given, uid)
		}
	}
	for _, service := range services {
		if service.Spec.Type != core.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil {
			continue
		}
		has, wants := current(service), service.Spec.LoadBalancerIP
		if has == "" {
			has = a.given[service.UID]
		}
		address := has
		switch {
		case wants != "" && wants != has && a.offers(wants) && !used[wants]:
			address = wants
		case has == "" && wants == "":
			address = a.free(used)
		}
		if address == "" || address == current(service) {
			continue
		}
		if err := a.give(ctx, service, address); err != nil {
			return err
		}
		a.given[service.UID], used[address] = address, true
		log.Printf("%s/%s has %s", service.Namespace, service.Name, address)
	}
	return nil
}

func (a *addresses) offers(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && a.pool.Contains(parsed)
}

func (a *addresses) free(used map[string]bool) string {
	for address := a.pool.Addr().Next(); a.pool.Contains(address); address = address.Next() {
		if !used[address.String()] {
			return address.String()
		}
	}
	return ""
}

func (a *addresses) give(ctx context.Context, service *core.Service, address string) error {
	mode := core.LoadBalancerIPModeVIP
	ingress := []core.LoadBalancerIngress{{IP: address, IPMode: &mode}}
	status := core.ServiceStatus{LoadBalancer: core.LoadBalancerStatus{Ingress: ingress}}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = a.client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, meta.PatchOptions{}, "status")
	return err
}

// current is the address that a Service shows, or nothing.
func current(service *core.Service) string {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		return ingress.IP
	}
	return ""
}
