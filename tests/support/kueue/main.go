// Kueue's own controllers and scheduler for batch Jobs, without its webhooks, which need certificates
// and a Service: Jobs here are made suspended already, and their objects need no defaults.
package main

import (
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	configapi "sigs.k8s.io/kueue/apis/config/v1beta2"
	kueuev1beta1 "sigs.k8s.io/kueue/apis/kueue/v1beta1"
	kueue "sigs.k8s.io/kueue/apis/kueue/v1beta2"
	qcache "sigs.k8s.io/kueue/pkg/cache/queue"
	schdcache "sigs.k8s.io/kueue/pkg/cache/scheduler"
	"sigs.k8s.io/kueue/pkg/constants"
	"sigs.k8s.io/kueue/pkg/controller/core"
	"sigs.k8s.io/kueue/pkg/controller/core/indexer"
	"sigs.k8s.io/kueue/pkg/controller/jobframework"
	"sigs.k8s.io/kueue/pkg/controller/jobs/job"
	"sigs.k8s.io/kueue/pkg/features"
	"sigs.k8s.io/kueue/pkg/scheduler"
	preemptexpectations "sigs.k8s.io/kueue/pkg/scheduler/preemption/expectations"
)

func main() {
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(); err != nil {
		ctrl.Log.Error(err, "Kueue ends")
		os.Exit(1)
	}
}

func run() error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, kueue.AddToScheme, kueuev1beta1.AddToScheme,
		configapi.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	off := map[string]bool{string(features.TopologyAwareScheduling): false}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(off); err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	configuration := &configapi.Configuration{}
	scheme.Default(configuration)

	requeuer := qcache.NewRequeuer()
	if err := mgr.Add(requeuer); err != nil {
		return err
	}
	expected := preemptexpectations.New()
	cache := schdcache.New(mgr.GetClient())
	queues := qcache.NewManager(mgr.GetClient(), cache, requeuer, qcache.WithPreemptionExpectations(expected))
	if err := indexer.Setup(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if err := job.SetupIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	jobframework.EnableIntegration(job.FrameworkName)
	recorder := mgr.GetEventRecorderFor(constants.JobControllerName)
	jobs, err := job.NewReconciler(
		ctx, mgr.GetClient(), mgr.GetFieldIndexer(), recorder, jobframework.WithCache(cache),
	)
	if err != nil {
		return err
	}
	if err := jobs.SetupWithManager(mgr); err != nil {
		return err
	}
	if _, err := core.SetupControllers(mgr, queues, cache, configuration, nil, expected, nil); err != nil {
		return err
	}
	go queues.CleanUpOnContext(ctx)
	go cache.CleanUpOnContext(ctx)
	admission := mgr.GetEventRecorderFor(constants.AdmissionName)
	if err := mgr.Add(scheduler.New(
		queues, cache, mgr.GetClient(), admission, scheduler.WithPreemptionExpectations(expected),
	)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
