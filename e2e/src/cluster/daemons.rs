//! What runs on the node.

/// A program of the node that is started again when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Daemon {
    /// Also the name of its log file.
    pub(super) name: &'static str,
    /// What has to be there before it starts.
    pub(super) after: Milestone,
    /// The arguments, separated by white space.
    pub(super) arguments: &'static str,
}

/// States of the node as it comes up, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Milestone {
    /// Mounts and network are there.
    Start,
    /// The API server listens.
    Listening,
    /// The API server has made the roles that the components of Kubernetes have.
    Ready,
}

/// The path by which the node finds its programs; see [`super::init`].
pub(super) const BIN: &str = "/run/flotilla/bin";

/// All daemons, in the order of their start.
///
/// There is one of each, so nobody elects leaders. The state of the cluster is thrown away, so etcd need not wait for
/// the disk.
pub(super) const DAEMONS: [Daemon; 8] = [
    Daemon {
        name: "containerd",
        after: Milestone::Start,
        arguments: "--config /run/flotilla/conf/containerd.toml --log-level warn",
    },
    Daemon {
        name: "etcd",
        after: Milestone::Start,
        arguments: "
            --data-dir=/var/lib/etcd
            --unsafe-no-fsync
            --log-level=warn
            --listen-client-urls=http://127.0.0.1:2379
            --advertise-client-urls=http://127.0.0.1:2379
            --listen-peer-urls=http://127.0.0.1:2380
            --initial-advertise-peer-urls=http://127.0.0.1:2380
            --initial-cluster=default=http://127.0.0.1:2380",
    },
    Daemon {
        name: "kube-apiserver",
        after: Milestone::Start,
        arguments: "
            --etcd-servers=http://127.0.0.1:2379
            --advertise-address=198.18.16.1
            --secure-port=6443
            --service-cluster-ip-range=198.19.0.0/20
            --authorization-mode=Node,RBAC
            --enable-admission-plugins=NodeRestriction
            --allow-privileged=true
            --profiling=false
            --client-ca-file=/run/flotilla/pki/ca.crt
            --tls-cert-file=/run/flotilla/pki/apiserver.crt
            --tls-private-key-file=/run/flotilla/pki/apiserver.key
            --kubelet-client-certificate=/run/flotilla/pki/apiserver-kubelet.crt
            --kubelet-client-key=/run/flotilla/pki/apiserver-kubelet.key
            --kubelet-certificate-authority=/run/flotilla/pki/ca.crt
            --kubelet-preferred-address-types=InternalIP
            --service-account-key-file=/run/flotilla/pki/sa.pub
            --service-account-signing-key-file=/run/flotilla/pki/sa.key
            --service-account-issuer=https://kubernetes.default.svc.cluster.local
            --requestheader-client-ca-file=/run/flotilla/pki/front-ca.crt
            --requestheader-allowed-names=front-proxy-client
            --requestheader-extra-headers-prefix=X-Remote-Extra-
            --requestheader-group-headers=X-Remote-Group
            --requestheader-username-headers=X-Remote-User
            --proxy-client-cert-file=/run/flotilla/pki/front-client.crt
            --proxy-client-key-file=/run/flotilla/pki/front-client.key",
    },
    Daemon {
        name: "kubelet",
        after: Milestone::Listening,
        arguments: "
            --config=/run/flotilla/conf/kubelet.yaml
            --kubeconfig=/run/flotilla/pki/kubelet.kubeconfig
            --cert-dir=/var/lib/kubelet/pki
            --hostname-override=node
            --node-ip=198.18.16.1",
    },
    Daemon {
        name: "kube-proxy",
        after: Milestone::Listening,
        arguments: "--config=/run/flotilla/conf/kube-proxy.yaml",
    },
    Daemon {
        name: "kube-controller-manager",
        after: Milestone::Ready,
        arguments: "
            --kubeconfig=/run/flotilla/pki/kube-controller-manager.kubeconfig
            --authentication-kubeconfig=/run/flotilla/pki/kube-controller-manager.kubeconfig
            --authorization-kubeconfig=/run/flotilla/pki/kube-controller-manager.kubeconfig
            --service-account-private-key-file=/run/flotilla/pki/sa.key
            --root-ca-file=/run/flotilla/pki/ca.crt
            --use-service-account-credentials=true
            --cluster-cidr=198.18.0.0/20
            --allocate-node-cidrs=false
            --leader-elect=false
            --horizontal-pod-autoscaler-sync-period=2s
            --kube-api-qps=200
            --kube-api-burst=400
            --bind-address=127.0.0.1",
    },
    Daemon {
        name: "kube-scheduler",
        after: Milestone::Ready,
        arguments: "
            --kubeconfig=/run/flotilla/pki/kube-scheduler.kubeconfig
            --authentication-kubeconfig=/run/flotilla/pki/kube-scheduler.kubeconfig
            --authorization-kubeconfig=/run/flotilla/pki/kube-scheduler.kubeconfig
            --leader-elect=false
            --kube-api-qps=200
            --kube-api-burst=400
            --bind-address=127.0.0.1",
    },
    Daemon {
        name: "load-balancer",
        after: Milestone::Ready,
        arguments: "--kubeconfig=/run/flotilla/pki/admin.kubeconfig --range=198.19.16.0/20",
    },
];
