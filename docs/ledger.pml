/*
 * How a mail gets from the queue to a provider: a model that a machine checks completely.
 *
 * It follows the rules of `postman/core/protocol.py` and the order in which `postman/runtime` obeys them.
 * Spin tries every order in which two workers, two providers, the queue, an operator and what can go wrong
 * may act, and prints the way to a broken promise, or that there is none. The unit suite does the same over
 * the very functions that are shipped; this page is shorter, shares no line with them, and shows besides that
 * every mail is finished.
 *
 * To check it, with Debian's packages `spin` and `gcc`, in a directory of its own:
 *
 *     spin -a ledger.pml && gcc -O2 -w -DCOLLAPSE -o pan pan.c
 *     ./pan -a -m100000 -N safe              and so with each promise at the end of this page; -f too for `finished`
 *     spin -k ledger.pml.trail -t -p -g ledger.pml       after a violation: the way there, step by step
 *
 * Every promise holds, whichever two or three things go wrong. States, and seconds on one core:
 *
 *                      the five of safety together            and that every mail is finished
 *     FAULTS           2                 3                    2                 3
 *     to ask           101,879  0.1 s      586,760  0.8 s     194,250  0.8 s    1,127,007   6 s
 *     -DRESEND         291,558  0.4 s    2,786,270  5.0 s     551,327  2.4 s    5,281,800  31 s
 *     -DHOLD           143,372  0.2 s      703,394  0.9 s     270,237  1.1 s    1,340,201   6 s
 *     -DKEYED          200,818  0.3 s    1,306,072  2.1 s     385,270  2.0 s    2,518,049  14 s
 *
 * Each mistake below breaks one: NOBUMP, LATENEG, FAILOVER and EARLY lead to a second copy, ACKFIRST and ANYPARK to a
 * loss; one thing that goes wrong is enough for FAILOVER, ACKFIRST and EARLY, two for NOBUMP and ANYPARK, three for
 * LATENEG. ANYPARK was this project's own: the model found it.
 *
 * Not in it: what times are (a window is over when nothing can arrive any more; the code waits for it by the
 * clock), calls of the ledger that arrive after their caller gave up, more than one mail, mails that cannot
 * be decoded or expire.
 *
 * How to read it. A `proctype` acts by itself. What stands in `atomic { }` happens in one step; between steps
 * anybody else may act. `if :: a -> b :: c -> d fi` takes one of the branches whose condition holds, and ALL
 * such choices are tried; where none holds, it waits. `do` is the same for ever. A process may rest for good
 * where a label begins with `end`.
 */

/* How many things go wrong in one run, whichever: a worker dies (and is started again); a lease ends
 * although its worker lives, which only stood still; nobody hears of a request in time; a provider refuses,
 * certainly without taking the mail, for its own reasons or for the mail's; a call of the ledger or an ack
 * is carried out, and its answer lost. */
#ifndef FAULTS
#define FAULTS 2
#endif

/* What the mail's owner chose for a doubt: to ask for evidence; or -DRESEND; or -DHOLD.
 * -DKEYED: providers have idempotency keys. -DANYFIRST: a worker may begin with either provider, not with provider 0.
 *
 * Mistakes, by which the model shows that it finds something:
 * -DNOBUMP     claims and take-overs leave the token as it is
 * -DLATENEG    a release by a worker that lost its claim frees the mail
 * -DFAILOVER   no answer is taken for a refusal: on to the next provider
 * -DACKFIRST   the queue is told before the ledger
 * -DEARLY      the provider's "I do not have it" is believed at once
 * -DANYPARK    whoever parks need not say which refusal or doubt the dead letter is of */

mtype = { FREE, SENDING, SENT, REFUSED, IN_DOUBT };

/* The ledger's entry. */
mtype state = FREE;
byte token;                 /* the fencing number */
bit provider;               /* who holds the mail, or may hold it */
bool leased;                /* whether the lease of a mail that is SENDING still runs */
byte owner;                 /* the worker, from 1, whose present claim made it SENDING; 0: it died, or began anew */
byte lapses;                /* how many leases ran out */
bool parked;                /* whether the dead letter of a mail that is REFUSED or IN_DOUBT is known to be durable */

/* The queue: message 0, and message 1 where the same mail is published once more. */
bool gone[2];               /* acked, or not there yet */
byte letters;               /* dead letters of this mail */

/* The providers. */
byte accepted[2];           /* copies that each of them took */
byte lone[2];               /* requests under way there whose sender does not listen any more */
byte posting;               /* requests under way whose sender listens */
byte ready;                 /* workers about to begin a request */

byte resent;                /* doubts that were cleared without evidence: by the owner's choice, or by an operator */

bool was_sent;              /* whether the ledger ever said SENT */

byte faults = FAULTS;

#define COPIES          (accepted[0] + accepted[1])
#define ON_THE_WAY      (posting + lone[0] + lone[1])

/* A provider's "I do not have it" is evidence when nothing that was sent before the doubt can still arrive. */
#define WINDOW_IS_OVER  (ON_THE_WAY + ready == 0)

#define IS_MINE         (state == SENDING && token == mine)

#ifdef ANYPARK
#define SAME_TOKEN      true
#else
#define SAME_TOKEN      (token == mine)
#endif

#ifdef NOBUMP
#define BUMP            skip
#else
#define BUMP            token++
#endif

/* A provider takes one copy for each key that it knows; without keys, each request that arrives is a copy. */
#ifdef KEYED
#define ACCEPT(p)       accepted[p] = 1
#else
#define ACCEPT(p)       accepted[p]++
#endif

/* After a call of the ledger: the answer comes, or it is lost and the call is made again. */
#define OR_AGAIN(call)  if :: skip :: faults > 0 -> faults--; goto call fi

/* A worker may die before each step. */
#define OR_DIE          :: atomic { faults > 0 -> faults--; goto die }

#define LEAVE_SENDING   owner = 0; leased = false

proctype Worker(byte me)
{
    bit msg;                /* which message it holds */
    byte mine;              /* the token of its claim, or of the doubt that it looks into */
    bit at;                 /* the provider that it deals with */
    bool moved;             /* whether the mail was at the other one before */
    bool repeated;          /* whether it sends under a key that this provider may know already */

    /* Pull. Both may hold the same message: queues promise nothing better. */
end_idle:
    atomic {
        mine = 0; at = 0; moved = false; repeated = false; msg = 0;
        if
        :: !gone[0] -> msg = 0
        :: !gone[1] -> msg = 1
        fi;
        if :: owner == me -> owner = 0 :: else fi;          /* each claim has an id of its own: this is another one */
#ifdef ANYFIRST
        if :: at = 0 :: at = 1 fi
#endif
    }

claim:
    if
    :: atomic { state == SENDING && owner == me -> mine = token; ready++; goto post }  /* its own: asked again */
    :: atomic { state == SENDING && owner != me && leased -> goto end_idle }            /* another's: give it back */
    :: atomic { state == SENDING && owner != me && !leased ->                           /* take it over, into doubt */
           state = IN_DOUBT; LEAVE_SENDING; BUMP; parked = false;
           if :: lapses < 2 -> lapses++ :: else fi;
           OR_AGAIN(claim); mine = token; at = provider; goto look_up }
    :: atomic { state == FREE && lapses < 2 ->
           state = SENDING; BUMP; owner = me; leased = true; provider = at; parked = false;
           OR_AGAIN(claim); mine = token; ready++; goto post }
    :: atomic { state == FREE && lapses >= 2 -> mine = token; goto refuse_poison }
    :: atomic { state == SENT || parked -> goto ack }
    :: atomic { state == REFUSED && !parked -> mine = token; goto dead_letter }
    :: atomic { state == IN_DOUBT && !parked -> mine = token; at = provider; goto look_up }
    OR_DIE
    fi;

    /* Send. The ledger names the provider before the request leaves. */
post:
    if
    :: atomic { ready--; posting++ }
    :: atomic { faults > 0 -> faults--; ready--; goto die }
    fi;
    if
    :: atomic { posting--; ACCEPT(at); goto record_sent }
    :: atomic { faults > 0 -> faults--; posting--; lone[at]++; goto no_answer }
    :: atomic { faults > 0 && !repeated -> faults--; posting--; goto fail_over }
    :: atomic { faults > 0 && !repeated -> faults--; posting--; goto record_refused }
    :: atomic { faults > 0 && repeated -> faults--; posting--; goto no_answer }   /* says nothing of the first time */
    :: atomic { faults > 0 -> faults--; posting--; lone[at]++; goto die }
    fi;

no_answer:
#ifdef FAILOVER
    if :: repeated -> skip :: else -> goto fail_over fi;
#endif
    if
    :: atomic { IS_MINE -> state = IN_DOUBT; LEAVE_SENDING; parked = false; OR_AGAIN(no_answer); goto end_idle }
    :: atomic { !IS_MINE -> goto end_idle }                                     /* taken over, or recorded before */
    OR_DIE
    fi;

fail_over:
    if
    :: atomic { IS_MINE && !moved && provider == at -> provider = 1 - at;
           OR_AGAIN(fail_over); at = 1 - at; moved = true; ready++; goto post }
    :: atomic { IS_MINE && !moved && provider != at -> at = 1 - at; moved = true; ready++; goto post }
    :: atomic { IS_MINE && provider == at -> state = FREE; LEAVE_SENDING; OR_AGAIN(release_again); goto end_idle }
    :: atomic { !IS_MINE -> goto release_late }
    OR_DIE
    fi;

    /* Late evidence of refusal frees nothing: the claim is lost, and the message given back. */
release_late:
#ifdef LATENEG
    atomic { if :: state == IN_DOUBT -> state = FREE; parked = false :: else fi };
#endif
release_again:
    goto end_idle;

record_refused:
    if
    :: atomic { IS_MINE -> state = REFUSED; LEAVE_SENDING; parked = false; OR_AGAIN(record_refused); goto dead_letter }
    :: atomic { state == REFUSED && token == mine -> goto dead_letter }
    :: atomic { !IS_MINE && !(state == REFUSED && token == mine) -> goto end_idle }
    OR_DIE
    fi;

    /* A receipt is a fact, whoever brings it and however late: no token is asked for. */
record_sent:
#ifdef ACKFIRST
    atomic { gone[msg] = true };
#endif
    if
    :: atomic { state = SENT; was_sent = true; provider = at; LEAVE_SENDING; parked = false;
           OR_AGAIN(record_sent); goto ack }
    OR_DIE
    fi;

    /* A doubt: ask the provider that may hold the mail. */
look_up:
    if
#ifdef KEYED
    :: atomic { lapses < 2 -> goto repeat }
#endif
#ifdef RESEND
    :: atomic { goto clear }
#else
    :: atomic { accepted[at] > 0 -> goto record_sent }
#ifdef EARLY
    :: atomic { accepted[at] == 0 -> goto clear }
#else
    :: atomic { accepted[at] == 0 && !WINDOW_IS_OVER -> goto end_idle }
#ifdef HOLD
    :: atomic { accepted[at] == 0 && WINDOW_IS_OVER -> goto dead_letter }
#else
    :: atomic { accepted[at] == 0 && WINDOW_IS_OVER -> goto clear }
#endif
#endif
#endif
    OR_DIE
    fi;

clear:
    if
    :: atomic { state == IN_DOUBT && token == mine -> state = FREE; parked = false;
#ifdef RESEND
           resent++;
#endif
           OR_AGAIN(clear); goto end_idle }
    :: atomic { !(state == IN_DOUBT && token == mine) -> goto end_idle }           /* settled, or renewed, by another */
    OR_DIE
    fi;

    /* The provider has idempotency keys: the same request again, under a claim of its own. */
repeat:
    if
    :: atomic { state == SENDING && owner == me -> mine = token; repeated = true; ready++; goto post }
    :: atomic { state == IN_DOUBT && token == mine && lapses < 2 ->
           state = SENDING; BUMP; owner = me; leased = true; parked = false;
           OR_AGAIN(repeat); mine = token; repeated = true; ready++; goto post }
    :: atomic { !(state == SENDING && owner == me) && !(state == IN_DOUBT && token == mine && lapses < 2) ->
           goto end_idle }
    OR_DIE
    fi;

    /* Two workers ended while they had it: the third does not send it. */
refuse_poison:
    if
    :: atomic { state == FREE -> state = REFUSED; parked = false; mine = token;
           OR_AGAIN(refuse_poison); goto dead_letter }
    :: atomic { state == REFUSED && !parked -> mine = token; goto dead_letter }
    :: atomic { state == SENT || parked -> goto ack }
    :: atomic { state == SENDING || (state == IN_DOUBT && !parked) -> goto end_idle }
    OR_DIE
    fi;

    /* The dead letter is durable before the ledger is told, and the ledger before the queue. */
dead_letter:
    if
    :: atomic { letters++ }
    OR_DIE
    fi;
park:
    if
    :: atomic { if :: (state == REFUSED || state == IN_DOUBT) && SAME_TOKEN -> parked = true :: else fi; goto ack }
    OR_DIE
    fi;

    /* The queue is told last. */
ack:
    if
    :: atomic { gone[msg] = true; goto end_idle }
    :: atomic { faults > 0 -> faults--; goto end_idle }
    OR_DIE
    fi;

die:
    atomic { if :: owner == me -> owner = 0 :: else fi; goto end_idle }
}

/* What happens by itself. */
proctype World()
{
end_world:
    do
    :: atomic { leased && owner == 0 -> leased = false }                            /* a dead worker's lease ends */
    :: atomic { leased && owner != 0 && faults > 0 -> faults--; leased = false }      /* one stood still */
    :: atomic { lone[0] > 0 -> lone[0]--; if :: ACCEPT(0) :: skip fi }          /* a request arrives, or never does */
    :: atomic { lone[1] > 0 -> lone[1]--; if :: ACCEPT(1) :: skip fi }
    :: atomic { state != SENT && COPIES > 0 ->                                /* a provider's event */
           state = SENT; was_sent = true; LEAVE_SENDING; parked = false }
    od
}

/* The mail is published a second time, by a producer that did not hear of the first, or by an operator who replays its
 * dead letter: the ledger reopens the mail, then it is published, then its dead letter goes. */
proctype Again()
{
    if
    :: atomic { gone[1] = false; goto end_again }
    :: atomic { letters > 0 && (state == REFUSED || (state == IN_DOUBT && parked)) ->
           if :: state == IN_DOUBT -> resent++ :: else fi;
           state = FREE; BUMP; lapses = 0; parked = false }
    fi;
    gone[1] = false;
    letters--;
end_again:
    skip
}

init
{
    atomic { gone[1] = true; run Worker(1); run Worker(2); run World(); run Again() }
}

#define NO_LOSS         (!(gone[0] && gone[1]) || state == SENT || letters > 0)
#define SENT_IS_TRUE    (state != SENT || COPIES > 0)
#define SENT_IS_FINAL   (!was_sent || state == SENT)
#define ONE_COPY        (COPIES <= 1 + resent)
#ifdef KEYED
#define ONE_AT_A_TIME   true        /* a repetition may overtake the first request: one copy is made of both */
#else
#define ONE_AT_A_TIME   (ON_THE_WAY <= 1 + resent)
#endif

/* S1: who is out of the queue was sent, or lies among the dead letters. */
ltl no_loss { [] NO_LOSS }

/* S2: SENT is recorded only after a provider took it, and never taken back. */
ltl sent_is_true { [] SENT_IS_TRUE }
ltl sent_is_final { [] SENT_IS_FINAL }

/* S3: no two requests at the same time; with `resend`, no more than there were doubts besides. */
ltl one_at_a_time { [] ONE_AT_A_TIME }

/* S4: no second copy, but for a doubt that was recorded and cleared without evidence. */
ltl one_copy { [] ONE_COPY }

/* These five at once. */
ltl safe { [] (NO_LOSS && SENT_IS_TRUE && SENT_IS_FINAL && ONE_AT_A_TIME && ONE_COPY) }

/* L1: however long it takes, the mail is finished; and again, where it was published again. */
ltl finished { [] <> (gone[0] && gone[1] && (state == SENT || letters > 0)) }
