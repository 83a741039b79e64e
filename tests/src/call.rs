//! Which answer belongs to which method, so that a call gives back the answer's own type.

use leveret_codec::amqp::{AMQPClass, basic, channel, confirm, connection, exchange, queue, tx};

/// A method of a client that the broker answers.
pub trait Call {
    /// What the broker answers.
    type Answer;

    /// The method for the wire.
    fn method(self) -> AMQPClass;

    /// The answer in it, if it is that.
    fn answer(method: AMQPClass) -> Option<Self::Answer>;
}

macro_rules! calls {
    ($($class:ident: $module:ident { $($call:ident => $answer:ident),* $(,)? })*) => {$($(
        impl Call for $module::$call {
            type Answer = $module::$answer;

            fn method(self) -> AMQPClass {
                AMQPClass::$class($module::AMQPMethod::$call(self))
            }

            fn answer(method: AMQPClass) -> Option<Self::Answer> {
                match method {
                    AMQPClass::$class($module::AMQPMethod::$answer(answer)) => Some(answer),
                    _ => None,
                }
            }
        }
    )*)*};
}

calls! {
    Connection: connection {
        Open => OpenOk,
        Close => CloseOk,
        UpdateSecret => UpdateSecretOk,
    }
    Channel: channel {
        Open => OpenOk,
        Flow => FlowOk,
        Close => CloseOk,
    }
    Exchange: exchange {
        Declare => DeclareOk,
        Delete => DeleteOk,
        Bind => BindOk,
        Unbind => UnbindOk,
    }
    Queue: queue {
        Declare => DeclareOk,
        Bind => BindOk,
        Unbind => UnbindOk,
        Purge => PurgeOk,
        Delete => DeleteOk,
    }
    Basic: basic {
        Qos => QosOk,
        Consume => ConsumeOk,
        Cancel => CancelOk,
        Recover => RecoverOk,
    }
    Tx: tx {
        Select => SelectOk,
        Commit => CommitOk,
        Rollback => RollbackOk,
    }
    Confirm: confirm {
        Select => SelectOk,
    }
}
